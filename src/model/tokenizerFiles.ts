import { z } from 'zod';
import type { EncoderKind } from './family.js';
import { fileExists, readJson, readText } from './files.js';

const side = z.enum(['left', 'right']);
/** Side of a sequence of token ids. */
type Side = z.output<typeof side>;

const id = z.int().min(0);
const flags = {
  content: z.string().min(1),
  single_word: z.boolean().default(false),
  lstrip: z.boolean().default(false),
  rstrip: z.boolean().default(false),
  /** Default: whether the token is not special. */
  normalized: z.boolean().optional(),
  special: z.boolean().default(false),
};
const flagged = z.object(flags);
/** An added token and how it is looked for. */
export type TokenFlags = z.output<typeof flagged>;

/** A special token in tokenizer_config.json. One without flags is its content. */
const configToken = z
  .union([z.string().min(1), flagged], { error: 'expected a token' })
  .transform((given): TokenFlags => (typeof given === 'string' ? special(given) : given));
/** A special token in special_tokens_map.json. */
const mapToken = configToken.transform((given): TokenFlags => ({ ...given, special: true }));

const ROLES = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'] as const;
type Role = (typeof ROLES)[number];
/** Special tokens by their role. Null is none, even where the tokenizer has a default. */
type SpecialTokens = { readonly [Name in Role]?: TokenFlags | null | undefined };

/** The special tokens of roles that no file mentions. */
const DEFAULTS: Readonly<Record<EncoderKind, SpecialTokens>> = {
  clip: {
    bos_token: special('<|startoftext|>'),
    eos_token: special('<|endoftext|>'),
    unk_token: special('<|endoftext|>'),
    pad_token: special('<|endoftext|>'),
  },
  t5: { eos_token: special('</s>'), unk_token: special('<unk>'), pad_token: special('<pad>') },
};

/** A special token without further flags. */
export function special(content: string): TokenFlags {
  return flagged.parse({ content, special: true });
}

function specialTokens(token: z.ZodType<TokenFlags>) {
  const role = token.nullable().optional();
  return z.object({
    ...(Object.fromEntries(ROLES.map((name) => [name, role])) as Record<Role, typeof role>),
    additional_special_tokens: z.array(token).nullish(),
    extra_special_tokens: z.union([z.array(token), z.record(z.string(), token)]).nullish(),
  });
}

const specialTokensMap = specialTokens(mapToken);
// Python writes an unknown length as 1e30.
const length = z.number().min(2).refine(Number.isInteger, 'expected a whole number');
const tokenizerConfig = specialTokens(configToken).extend({
  model_max_length: length.nullish(),
  max_len: length.nullish(),
  padding_side: side.optional(),
  truncation_side: side.optional(),
  split_special_tokens: z.boolean().default(false),
  added_tokens_decoder: z.record(z.string().regex(/^\d+$/, 'expected a token id'), flagged).optional(),
});
const vocabularyFile = z.record(z.string(), id);
const merge = z.union([z.array(z.string()), z.string().transform((text) => text.split(' '))]);
const direction = z.object({ direction: z.string().toLowerCase().pipe(side) });
/** What a tokenizer.json says beside its model. */
export const tokenizerFile = z.object({
  added_tokens: z.array(z.object({ ...flags, id })).default([]),
  padding: direction.nullish(),
  truncation: direction.nullish(),
});
type OwnTokens = z.output<typeof tokenizerFile>;
const clipFile = tokenizerFile.extend({
  model: z.object({ type: z.literal('BPE').default('BPE'), vocab: vocabularyFile, merges: z.array(merge) }),
});

/** An added token that a file lists with its id. */
export interface ListedToken extends TokenFlags {
  readonly id: number;
  /** Name of the file. */
  readonly file: string;
}

/** What the files of a tokenizer say of its tokens beside those of the model, and how it pads and truncates. */
export interface TokenSettings {
  /** Special tokens, in the order in which those without an id get one. */
  readonly special: SpecialTokens;
  /** Name of the file that they come from. */
  readonly specialSource: string;
  /** Special tokens without a role. */
  readonly extra: readonly TokenFlags[];
  readonly listed: readonly ListedToken[];
  /** Number of token ids of a prompt, special tokens included; undefined for as many as the text encoder takes. */
  readonly maxLength: number | undefined;
  readonly paddingSide: Side;
  readonly truncationSide: Side;
  /** Whether special tokens in a prompt are spelled like other text. */
  readonly splitSpecial: boolean;
}

/** What the files of a CLIP tokenizer say. */
export interface TokenizerFiles extends TokenSettings {
  /** Ids of the tokens of byte-pair encoding. */
  readonly vocabulary: Readonly<Record<string, number>>;
  /** Tokens that become one, in the order in which they do. */
  readonly merges: readonly (readonly string[])[];
  /** Names of the files that they come from. */
  readonly sources: { readonly vocabulary: string; readonly merges: string };
}

/**
 * Reads the files of a CLIP tokenizer in a model folder. tokenizer.json, if there is one, takes the place of vocab.json and merges.txt.
 * @param name name of the subfolder, such as `tokenizer`
 * @throws SrdsError MODEL_NOT_FOUND, MODEL_INVALID
 */
export async function readTokenizerFiles(folder: string, name: string): Promise<TokenizerFiles> {
  const whole = await optional(folder, `${name}/tokenizer.json`, clipFile);
  const vocabulary = whole?.model.vocab ?? (await readJson(folder, `${name}/vocab.json`, vocabularyFile));
  const merges = whole?.model.merges ?? parseMerges(await readText(folder, `${name}/merges.txt`));
  return {
    ...(await readTokenSettings(folder, name, 'clip', whole)),
    vocabulary,
    merges,
    sources: {
      vocabulary: whole ? 'tokenizer.json' : 'vocab.json',
      merges: whole ? 'tokenizer.json' : 'merges.txt',
    },
  };
}

/**
 * Reads the settings of a tokenizer in a model folder. tokenizer_config.json has the special tokens. If it has an
 * `added_tokens_decoder`, that lists the added tokens. If it has none, special_tokens_map.json overrides its special tokens, and
 * added_tokens.json and tokenizer.json list the added ones.
 *
 * Source: transformers, PreTrainedTokenizerBase._from_pretrained and CLIPTokenizer.
 * @param whole what tokenizer.json says, if there is one
 * @throws SrdsError MODEL_INVALID
 */
export async function readTokenSettings(
  folder: string,
  name: string,
  kind: EncoderKind,
  whole: OwnTokens | undefined,
): Promise<TokenSettings> {
  const config = await readJson(folder, `${name}/tokenizer_config.json`, tokenizerConfig);
  const { added_tokens_decoder: decoder } = config;
  const map = decoder ? undefined : await optional(folder, `${name}/special_tokens_map.json`, specialTokensMap);
  const contents = decoder ? undefined : await optional(folder, `${name}/added_tokens.json`, vocabularyFile);

  const named: SpecialTokens = { ...defined(config), ...defined(map ?? {}) };
  const defaults = DEFAULTS[kind];
  const extra = [...furtherTokens(config), ...furtherTokens(map ?? {})];
  const isSpecial = new Set([...Object.values(named), ...extra].flatMap((one) => (one?.special ? [one.content] : [])));
  const listed = decoder
    ? Object.entries(decoder).map(([key, one]) => ({ ...one, id: Number(key), file: 'tokenizer_config.json' }))
    : [
        ...Object.entries(contents ?? {}).map(([content, number]) => ({
          ...flagged.parse({ content, special: isSpecial.has(content), normalized: !isSpecial.has(content) }),
          id: number,
          file: 'added_tokens.json',
        })),
        ...ownTokens(whole),
      ];
  return {
    special: Object.fromEntries(ROLES.map((role) => [role, named[role] === undefined ? defaults[role] : named[role]])),
    specialSource: map ? 'special_tokens_map.json' : 'tokenizer_config.json',
    extra,
    listed,
    maxLength: config.model_max_length ?? config.max_len ?? undefined,
    paddingSide: config.padding_side ?? whole?.padding?.direction ?? 'right',
    truncationSide: config.truncation_side ?? whole?.truncation?.direction ?? 'right',
    splitSpecial: config.split_special_tokens,
  };
}

/** The tokens that tokenizer.json lists. */
export function ownTokens(whole: OwnTokens | undefined): ListedToken[] {
  return (whole?.added_tokens ?? []).map((one) => ({ ...one, file: 'tokenizer.json' }));
}

async function optional<Schema extends z.ZodType>(
  folder: string,
  file: string,
  schema: Schema,
): Promise<z.output<Schema> | undefined> {
  return (await fileExists(folder, file)) ? readJson(folder, file, schema) : undefined;
}

/** The roles that a file mentions. */
function defined(given: SpecialTokens): SpecialTokens {
  return Object.fromEntries(ROLES.flatMap((role) => (given[role] === undefined ? [] : [[role, given[role]]])));
}

/** Special tokens without a role. */
function furtherTokens(given: Partial<z.output<typeof specialTokensMap>>): TokenFlags[] {
  return [...Object.values(given.extra_special_tokens ?? {}), ...(given.additional_special_tokens ?? [])];
}

function parseMerges(text: string): string[][] {
  return text
    .split(/\r?\n/)
    .filter((line) => line !== '' && !line.startsWith('#version'))
    .map((line) => line.split(' '));
}

import { isDeepStrictEqual } from 'node:util';
import { SrdsError } from '../errors.js';
import type { AddedToken } from './addedTokens.js';
import { BYTE_TOKENS, isPieceOfWord } from './bytePairs.js';
import type { TokenizerFiles, TokenSettings } from './tokenizerFiles.js';

/** A tokenizer's added and special tokens with their ids. */
export interface TokenTable {
  readonly added: readonly AddedToken[];
  readonly bos: number;
  readonly eos: number;
  readonly pad: number;
  /** Stands for bytes without a token. */
  readonly unknown: string | undefined;
}

/** @param file name of the file that is at fault */
type Refuse = (file: string, found: string) => SrdsError;

/**
 * Gives added and special tokens their ids, and checks that they and the vocabulary fit each other and the text encoder.
 * Source: TokenizersBackend of transformers, AddedVocabulary::add_tokens of Hugging Face's tokenizers.
 * @param embeddings number of tokens that the text encoder knows
 * @param folder path of the tokenizer, for errors
 * @throws SrdsError MODEL_INVALID
 */
export function tokenTable(files: TokenizerFiles, embeddings: number, folder: string): TokenTable {
  const { vocabulary, sources, special, specialSource } = files;
  const refuse: Refuse = (file, found) =>
    new SrdsError(
      'MODEL_INVALID',
      `a complete CLIP tokenizer that fits the text encoder in ${folder}/${file}`,
      found,
      'restore the files of the tokenizer as published with the model',
    );
  const added = placedTokens(files, vocabulary);
  const idOf = (role: 'bos_token' | 'eos_token' | 'pad_token'): number => {
    const content = special[role]?.content;
    const id = content === undefined ? undefined : added.get(content)?.id;
    if (id === undefined) throw refuse(specialSource, `${role}: null`);
    return id;
  };
  const ids = { bos: idOf('bos_token'), eos: idOf('eos_token'), pad: idOf('pad_token') };
  const unknown = special.unk_token?.content;

  checkMerges(files, new Set(added.keys()), unknown, refuse);
  const highest = Object.values(vocabulary).reduce((max, id) => Math.max(max, id), 0);
  if (highest >= embeddings) {
    throw refuse(sources.vocabulary, `token ${highest}; the text encoder has ${embeddings} tokens`);
  }
  checkPlaced(added, files, { embeddings, source: sources.vocabulary, refuse });
  return { added: [...added.values()], ...ids, unknown };
}

/**
 * The added tokens by content: those that files list in the order of their ids, then further special tokens.
 * @param vocabulary ids of the model's tokens
 */
export function placedTokens(
  { special, listed, extra, splitSpecial }: TokenSettings,
  vocabulary: Readonly<Record<string, number>>,
): ReadonlyMap<string, AddedToken> {
  const roles = Object.values(special).flatMap((token) => token ?? []);
  const hasRole = new Set(roles.map(({ content }) => content));
  const isListed = new Set(listed.map(({ content }) => content));
  const unlisted = [...roles, ...extra].filter(({ content }) => !isListed.has(content));
  const others = unlisted.filter((token, k) => unlisted.findIndex((other) => isDeepStrictEqual(token, other)) === k);
  const added = new Map<string, AddedToken>();
  let next = Object.keys(vocabulary).length;
  for (const token of [...listed.toSorted((a, b) => a.id - b.id), ...others]) {
    const { content, lstrip, rstrip, single_word: singleWord } = token;
    const known = added.get(content);
    const id = known?.id ?? (Object.hasOwn(vocabulary, content) ? vocabulary[content] : next++);
    const isSpecial = token.special || hasRole.has(content);
    const spelled = (splitSpecial && isSpecial) || (known?.spelled ?? false);
    // A token that is given twice has its last flags.
    added.set(content, {
      content,
      id,
      singleWord,
      lstrip,
      rstrip,
      normalized: token.normalized ?? !isSpecial,
      spelled,
    });
  }
  return added;
}

/**
 * @param embeddings number of tokens that the text encoder knows
 * @param source name of the vocabulary's file
 * @throws SrdsError if a listed token has another id than its place in the vocabulary, or if the text encoder lacks a token
 */
export function checkPlaced(
  added: ReadonlyMap<string, AddedToken>,
  { listed, specialSource }: TokenSettings,
  { embeddings, source, refuse }: { readonly embeddings: number; readonly source: string; readonly refuse: Refuse },
): void {
  const contents = new Map(listed.map(({ id, content }) => [id, content]));
  for (const { content, id, file } of listed) {
    const other = contents.get(id);
    if (other !== content) throw refuse(file, `the tokens ${content} and ${other} with the same id ${id}`);
    const known = `the text encoder has ${embeddings} tokens`;
    if (id >= embeddings) throw refuse(file, `the token ${content} with the id ${id}; ${known}`);
    const place = added.get(content)?.id;
    if (id !== place) throw refuse(file, `the token ${content} with the id ${id}, which is ${place} in the vocabulary`);
  }
  for (const { content, id } of added.values()) {
    if (id < embeddings) continue;
    const found = `no token ${content} in ${source}, and none left of the text encoder's ${embeddings} tokens`;
    throw refuse(specialSource, found);
  }
}

/** @throws SrdsError if merges and vocabulary are not those of one tokenizer, or parts of them are missing */
function checkMerges(
  { vocabulary, merges, sources }: TokenizerFiles,
  added: ReadonlySet<string>,
  unknown: string | undefined,
  refuse: Refuse,
): void {
  const has = (token: string): boolean => Object.hasOwn(vocabulary, token);
  const wrong = merges.find((pair) => pair.length !== 2 || ![...pair, pair.join('')].every(has));
  if (wrong) throw refuse(sources.merges, `the merge "${wrong.join(' ')}" of tokens that are not in the vocabulary`);
  const missing = BYTE_TOKENS.find((token) => !has(token));
  if (missing !== undefined && (unknown === undefined || !has(unknown))) {
    throw refuse(sources.vocabulary, `no token ${missing}, and no unknown token in its place`);
  }
  const made = new Set([...BYTE_TOKENS, ...merges.map((pair) => pair.join(''))]);
  const orphan = Object.keys(vocabulary).find((token) => !made.has(token) && !added.has(token) && isPieceOfWord(token));
  if (orphan !== undefined) throw refuse(sources.merges, `no merge that makes the token ${orphan}`);
}

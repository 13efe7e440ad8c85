// The package's own types do not resolve because their imports lack file extensions.
declare module '@huggingface/tokenizers' {
  export class Tokenizer {
    constructor(tokenizer: object, config: object);
    encode(text: string, options?: { readonly add_special_tokens?: boolean }): { readonly ids: number[] };
    decode(ids: readonly number[]): string;
  }

  /** Byte-pair encoding of words. */
  export class BPE {
    constructor(model: {
      readonly vocab: Readonly<Record<string, number>>;
      readonly merges: readonly (readonly string[])[];
      readonly unk_token: string | undefined;
      readonly end_of_word_suffix: string;
    });
    encode(words: readonly string[]): string[];
  }
}

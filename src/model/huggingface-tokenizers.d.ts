// The package's own types do not resolve because their imports lack file extensions.
declare module '@huggingface/tokenizers' {
  export class Tokenizer {
    constructor(tokenizer: object, config: object);
    encode(text: string, options?: { readonly add_special_tokens?: boolean }): { readonly ids: number[] };
    decode(ids: readonly number[]): string;
  }
}

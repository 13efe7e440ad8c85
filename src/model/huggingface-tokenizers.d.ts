// The package's own types lack the file extensions that Node's module resolution wants, and resolve to nothing.
declare module '@huggingface/tokenizers' {
  export class Tokenizer {
    constructor(tokenizer: object, config: object);
    encode(text: string, options?: { readonly add_special_tokens?: boolean }): { readonly ids: number[] };
    decode(ids: readonly number[]): string;
  }
}

/** A model on the hub. */
export interface Repository {
  /** `owner/name` */
  readonly name: string;
  /** Branch, tag or commit. */
  readonly revision: string;
}

/** Parses `owner/name` or `owner/name@revision`. @returns undefined if the text is neither */
export function parseRepository(text: string): Repository | undefined {
  const [, name, revision = 'main'] = /^([\w-][\w.-]*\/[\w-][\w.-]*)(?:@([\w-][\w./-]*))?$/.exec(text) ?? [];
  return name && !text.includes('..') ? { name, revision } : undefined;
}

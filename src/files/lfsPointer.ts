/** What a clone has in place of a large file until Git LFS fetches it. */
const POINTER = 'version https://git-lfs';

/** Longest pointer, in bytes. Source: the specification of Git LFS. */
export const MAX_POINTER_BYTES = 1024;

/** What stands in place of a file's content, in words; undefined if it is the content. @param text the start of the file */
export function lfsPointerIn(text: string): string | undefined {
  return text.startsWith(POINTER) ? 'a Git LFS pointer in its place' : undefined;
}

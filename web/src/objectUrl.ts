const urls = new WeakMap<Blob, string>();
// An address lives as long as its blob is used.
const unused = new FinalizationRegistry<string>((url) => URL.revokeObjectURL(url));

/** The address of a blob, the same for each call. */
export function urlOf(blob: Blob): string {
  const known = urls.get(blob);
  if (known !== undefined) return known;
  const url = URL.createObjectURL(blob);
  urls.set(blob, url);
  unused.register(blob, url);
  return url;
}

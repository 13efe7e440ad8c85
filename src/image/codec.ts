import type sharp from 'sharp';

/** sharp, loaded when the first image is read or written: it takes as long as the rest of a command to load. */
export async function codec(): Promise<typeof sharp> {
  return (await import('sharp')).default;
}

import type sharp from 'sharp';

/** sharp, loaded on first use because it takes as long to load as the rest of a command. */
export async function codec(): Promise<typeof sharp> {
  return (await import('sharp')).default;
}

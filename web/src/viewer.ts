import { signal } from '@preact/signals';

/** The image of the gallery that is shown at full size; undefined: none. */
export const viewed = signal<string | undefined>(undefined);

export function openImage(id: string): void {
  viewed.value = id;
}

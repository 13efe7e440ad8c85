/** Gives the focus to an image of the gallery, to the last one if there are fewer, or to the prompt if there are none. */
export function focusImage(at: number): void {
  const tiles = document.querySelectorAll<HTMLElement>('.gallery .tile');
  const none = document.querySelector<HTMLElement>('main [name=prompt]');
  (tiles.length > 0 ? tiles[Math.min(at, tiles.length - 1)] : none)?.focus();
}

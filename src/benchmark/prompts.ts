const SHAPES = ['sphere', 'cube', 'cylinder', 'cone', 'torus', 'ball'] as const;
const COLOURS = ['red', 'blue', 'green', 'yellow', 'purple', 'cyan', 'orange', 'white', 'black'] as const;
const FLOORS = ['on a wooden floor', 'on grass', 'on the beach', 'on a white floor', 'on a checkered floor'] as const;
const SKIES = ['at night', 'at sunset', 'under a clear sky', 'on a cloudy day'] as const;

/** A prompt that the bundled model understands, different for each index. */
export function promptOf(index: number): string {
  const pick = <Value>(values: readonly Value[], step: number): Value => values[(index * step) % values.length];
  const one = `a ${pick(COLOURS, 1)} ${pick(SHAPES, 5)}`;
  const two = index % 3 === 0 ? '' : ` beside a small ${pick(COLOURS, 4)} ${pick(SHAPES, 1)}`;
  return `${one}${two} ${pick(FLOORS, 2)} ${pick(SKIES, 3)}`;
}

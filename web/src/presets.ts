import { signal } from '@preact/signals';
import { initialOf, takes, type FormControl, type Parameters, type Values } from './parameters.js';
import { keep, kept } from './storage.js';

/** Settings under a name. */
export interface Preset {
  readonly name: string;
  readonly values: Values;
}

const STORAGE_KEY = 'srds.presets';
/** A model for fewer steps was distilled to them. */
const LEAST_USUAL_STEPS = 12;

/** The presets that the user has saved. */
export const savedPresets = signal<readonly Preset[]>(kept(() => localStorage, STORAGE_KEY, []) as readonly Preset[]);

/** Presets for a model, by its usual number of steps. */
export function presetsFor(steps: number, maxSteps: number): Preset[] {
  if (steps < LEAST_USUAL_STEPS) return [];
  const presets = [
    { name: 'Quick', values: { steps: Math.round(steps / 2) } },
    { name: 'Standard', values: { steps } },
    { name: 'Fine', values: { steps: 2 * steps } },
  ];
  return presets.filter(({ values }) => values.steps <= maxSteps);
}

/** Whether the form has the values of a preset. */
export function isChosen({ values }: Preset, parameters: Parameters): boolean {
  return Object.entries(values).every(([name, value]) => parameters[name] === value);
}

/** What a preset has of the form: all but what an image shows. */
export function settingsOf(form: readonly FormControl[], parameters: Parameters): Values {
  const names = Object.keys(initialOf(form)).filter((name) => name !== 'prompt' && name !== 'seed' && name !== 'n');
  const applying = names.filter((name) => {
    const control = form.find((one) => one.name === name);
    return !control || takes(control, parameters.sampler);
  });
  return Object.fromEntries(applying.map((name) => [name, parameters[name]]));
}

/** Saves a preset; one of the same name is replaced. */
export function savePreset(preset: Preset): void {
  store([...savedPresets.value.filter(({ name }) => name !== preset.name), preset]);
}

export function deletePreset(name: string): void {
  store(savedPresets.value.filter((preset) => preset.name !== name));
}

function store(presets: readonly Preset[]): void {
  savedPresets.value = presets;
  keep(() => localStorage, STORAGE_KEY, presets);
}

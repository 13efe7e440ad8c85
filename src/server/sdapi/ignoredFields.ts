import { ignored, type Concession } from '../concession.js';

/** Fields about the answer and the web UI itself, which have no effect on images. */
const HOUSEKEEPING =
  /^(save_images|do_not_save_\w+|override_settings_restore_afterwards|force_task_id|disable_extra_networks|comments|include_init_images|infotext|outpath_\w+|url|auth)$/;

/** Values that ask for nothing, beside empty ones, 0 and -1. */
const NEUTRAL: ReadonlyMap<string, readonly unknown[]> = new Map<string, readonly unknown[]>([
  ['clip_skip', [1]],
  ['CLIP_stop_at_last_layers', [1]],
  ['sd_vae', ['Automatic', 'None']],
  ['s_noise', [1]],
  ['initial_noise_multiplier', [1]],
  ['image_cfg_scale', [1.5]],
]);

/** Fields that count only if another one is given, by the start of their names. */
const DEPENDENT: readonly (readonly [prefix: string, on: string])[] = [
  ['hr_', 'enable_hr'],
  ['firstphase_', 'enable_hr'],
  ['denoising_strength', 'enable_hr'],
  ['seed_resize_', 'subseed_strength'],
  ['subseed', 'subseed_strength'],
  ['refiner_', 'refiner_checkpoint'],
  ['mask_', 'mask'],
  ['inpaint', 'mask'],
  ['script_args', 'script_name'],
];

/**
 * The fields of a request that web UIs know and this server does nothing with, if they ask for anything.
 * @param rest the fields that this server does not read
 * @param all every field by its name
 * @param inside name of the object that has them
 */
export function ignoredFields(
  rest: ReadonlyMap<string, unknown>,
  all: Readonly<Record<string, unknown>>,
  inside = '',
): Concession[] {
  const isGiven = (name: string) => !isNeutral(name, rest.get(name) ?? all[name]);
  return [...rest]
    .filter(([name, value]) => {
      if (HOUSEKEEPING.test(name) || isNeutral(name, value)) return false;
      const on = DEPENDENT.find(([prefix]) => name.startsWith(prefix))?.[1];
      return on === undefined || on === name || isGiven(on);
    })
    .map(([name]) => ignored(`${inside}${name}`));
}

function isNeutral(name: string, value: unknown): boolean {
  if (NEUTRAL.get(name)?.includes(value) === true) return true;
  if (value !== null && typeof value === 'object') return Object.keys(value).length === 0;
  return [undefined, null, '', false, 0, -1].includes(value as string);
}

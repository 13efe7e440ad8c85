import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ignoredFields } from '../../../src/server/sdapi/ignoredFields.js';

const named = (fields: object) => ignoredFields(new Map(Object.entries(fields)), {}).map(({ param }) => param);

/** What AUTOMATIC1111's own page and webuiapi send where nothing was set. */
const DEFAULTS = {
  enable_hr: false,
  hr_scale: 2,
  hr_upscaler: 'Latent',
  hr_second_pass_steps: 0,
  hr_resize_x: 0,
  denoising_strength: 0.7,
  firstphase_width: 0,
  styles: [],
  subseed: -1,
  subseed_strength: 0,
  seed_resize_from_h: 0,
  seed_resize_from_w: 0,
  restore_faces: false,
  tiling: false,
  do_not_save_samples: false,
  do_not_save_grid: false,
  save_images: true,
  s_churn: 0,
  s_tmin: 0,
  s_tmax: 0,
  s_noise: 1,
  refiner_checkpoint: null,
  refiner_switch_at: 0.8,
  mask_blur: 4,
  inpaint_full_res: true,
  inpaint_full_res_padding: 32,
  script_args: [],
  script_name: null,
  alwayson_scripts: {},
  override_settings_restore_afterwards: true,
};

test('defaults ask for nothing; what does is named once', () => {
  assert.deepEqual(named(DEFAULTS), []);
  const asked = { enable_hr: true, clip_skip: 2, subseed: 5, subseed_strength: 0.3, styles: ['anime'], tiling: true };
  const names = named({ ...DEFAULTS, ...asked });
  for (const name of Object.keys(asked)) assert.ok(names.includes(name), name);
  assert.ok(names.includes('hr_scale') && !names.includes('mask_blur') && !names.includes('refiner_switch_at'));
  assert.deepEqual(named({ subseed: 5, clip_skip: 1 }), []);
  const withMask = ignoredFields(new Map(Object.entries(DEFAULTS)), { mask: 'abc' });
  assert.deepEqual(
    withMask.map(({ param }) => param),
    ['mask_blur', 'inpaint_full_res', 'inpaint_full_res_padding'],
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SrdsError } from 'srds';
import { parseScheduleConfig } from 'srds/model';

test('an unusable configuration is refused by the name of its field', () => {
  const cases: [object, RegExp][] = [
    [{ beta_start: 'a' }, /beta_start/],
    [{ num_train_timesteps: -5 }, /num_train_timesteps/],
    [{ timestep_spacing: 'sideways' }, /timestep_spacing/],
    [{ clip_sample: false, trained_betas: [0.1] }, /trained_betas/],
  ];
  for (const [content, message] of cases) {
    assert.throws(
      () => parseScheduleConfig(content),
      (error) => error instanceof SrdsError && error.code === 'MODEL_INVALID' && message.test(error.message),
    );
  }
});

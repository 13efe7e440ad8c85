import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commonInfo } from '../../src/engine/commonInfo.js';
import type { GraphInfo } from '../../src/onnx/graphInfo.js';

const info: GraphInfo = {
  inputs: [{ name: 'timestep', type: 'float32', dims: ['batch'] }],
  outputs: [{ name: 'y', type: 'float32', dims: ['batch', 3] }],
};

test('a graph has an output of images if all its devices give it', () => {
  const withImages = { ...info, image: 'images' };
  assert.equal(commonInfo([], undefined), undefined);
  assert.equal(commonInfo([withImages, withImages], undefined)?.image, 'images');
  for (const infos of [[withImages, info], [info, withImages], [info]]) {
    assert.equal(commonInfo(infos, undefined)?.image, undefined);
  }
});

test('devices that round coarsely or take one timestep for a batch set the rule for all', () => {
  const shared = { ...info, inputs: [{ name: 'timestep', type: 'float32', dims: [] }] };
  assert.deepEqual(commonInfo([info, shared], 'timestep')?.inputs, shared.inputs);
  assert.deepEqual(commonInfo([info, shared], undefined)?.inputs, info.inputs);
  assert.equal(commonInfo([info, info], 'timestep')?.roundsCoarsely, false);
  for (const coarse of [
    { ...info, precision: 'float16' as const },
    { ...info, roundsCoarsely: true },
  ]) {
    assert.equal(commonInfo([info, coarse], 'timestep')?.roundsCoarsely, true);
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromComfy } from '../../web/src/comfy.js';

/** The workflow that ComfyUI starts with, with a second node between a prompt and its text, and a large seed. */
const WORKFLOW = `{
  "3": {"class_type": "KSampler", "inputs": {"seed": 18446744073709551615, "steps": 20, "cfg": 8, "sampler_name": "euler",
    "scheduler": "normal", "denoise": 1, "model": ["10", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
  "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "folder\\\\v1-5-pruned.safetensors"}},
  "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 1}},
  "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a glass bottle", "clip": ["4", 1]}},
  "7": {"class_type": "CLIPTextEncode", "inputs": {"text": ["8", 0], "clip": ["4", 1]}},
  "8": {"class_type": "PrimitiveString", "inputs": {"text": "watermark"}},
  "10": {"class_type": "LoraLoader", "inputs": {"lora_name": "x.safetensors", "model": ["4", 0]}}
}`;

test('a ComfyUI workflow gives the parameters of its sampler and of the nodes before it', () => {
  assert.deepEqual(Object.fromEntries(fromComfy(WORKFLOW) ?? []), {
    prompt: 'a glass bottle',
    negativePrompt: 'watermark',
    steps: '20',
    seed: '18446744073709551615',
    guidance: '8',
    solver: 'euler',
    size: '512x768',
    model: 'v1-5-pruned',
  });
});

test('what is no workflow gives nothing; a workflow with cycles and strange inputs does no harm', () => {
  for (const text of ['', 'null', '[]', '{"3": null}', '{"3": {"class_type": "LoadImage"}}', '{'.repeat(1000)]) {
    assert.equal(fromComfy(text), undefined, text);
  }
  const nodes = Object.fromEntries(
    Array.from({ length: 60 }, (_, k) => [
      String(k),
      { inputs: Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`in${i}`, [String((k + i) % 60), 0]])) },
    ]),
  );
  const cyclic = { ...nodes, s: { class_type: 'KSampler', inputs: { positive: ['0', 0], steps: 'many', cfg: null } } };
  assert.deepEqual([...(fromComfy(JSON.stringify(cyclic)) ?? [])], [['steps', 'many']]);
});

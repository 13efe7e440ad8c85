import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { z } from 'zod';
import { fixture } from '../support/fixtures.js';
import { outputOf } from '../support/program.js';

const cwd = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(cwd, { recursive: true }));

const SMALL = ['--steps', '2', '--size', '16x16', '--sampler', 'serial', '--json'];

test('a prompt that T5 cuts is named with the flag that takes more of it', async () => {
  const long = `${'red ball '.repeat(300)}on the beach`;
  const args = ['generate', long, '--model', fixture('models/sd3'), '--prompt2', 'a', '--max-sequence-length', '20'];
  const { stderr } = await outputOf({ cwd }, ...args, ...SMALL);
  const [clip, t5, ...others] = stderr.trimEnd().split('\n');
  assert.match(clip, /^srds: warning: the prompt is longer than the 77 tokens of CLIP; cut: "/);
  const hint = 'which takes up to 512 with --max-sequence-length';
  assert.ok(t5.startsWith(`srds: warning: the prompt is longer than the 20 tokens of T5, ${hint}; cut: "`), t5);
  assert.deepEqual(others, []);
  const { stderr: most } = await outputOf({ cwd }, ...args.slice(0, -1), '512', ...SMALL);
  assert.match(most, /the prompt is longer than the 512 tokens of T5; cut: "/);
});

test('the report has the options of Flux and SD3, and warnings call options by their flags', async () => {
  const options = ['--prompt2', 'b', '--negative-prompt', 'c', '--true-guidance', '2', '--max-sequence-length', '9'];
  const args = ['generate', 'a', '--model', fixture('models/flux-dev'), ...options, '--blocks', '2', '--prompt3', 'd'];
  const { stdout, stderr } = await outputOf({ cwd }, ...args, ...SMALL);
  const parsed = z
    .object({ prompt2: z.string(), prompt3: z.string(), trueGuidance: z.number(), maxSequenceLength: z.number() })
    .parse(JSON.parse(stdout));
  assert.deepEqual(parsed, { prompt2: 'b', prompt3: 'd', trueGuidance: 2, maxSequenceLength: 9 });
  assert.match(
    stderr,
    /sampler serial does nothing with --blocks \(for srds\); this model does nothing with --prompt3/,
  );
});

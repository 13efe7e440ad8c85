import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodePng } from 'srds/image';
import { serve } from '../support/serve.js';
import { post } from '../support/server.js';

const { url } = await serve({ maxSteps: 8 });
const image = new Blob([new Uint8Array(await encodePng({ width: 32, height: 32, data: new Uint8Array(3 * 32 * 32) }))]);

/** The answer to a form, without what differs in every one. */
async function edit(fields: readonly (readonly [string, string])[]) {
  const form = new FormData();
  const initial = { prompt: 'a', size: '32x32', steps: '4', sampler: 'srds', strength: '1' };
  for (const [name, value] of Object.entries(initial))
    if (!fields.some(([other]) => other === name)) form.set(name, value);
  for (const [name, value] of fields) form.append(name, value);
  form.set('image', image);
  const response = await fetch(`${url}/v1/images/edits`, { method: 'POST', body: form });
  return seedOrError(response.status, await response.json());
}

/** The answer to the same request as JSON, which draws without an initial image. @param fields JSON */
async function generation(fields: string) {
  const text = `{"prompt": "a", "size": "32x32", "sampler": "srds", ${fields.includes('"steps"') ? '' : '"steps": 4, '}${fields}}`;
  const { status, body } = await post(url, '/v1/images/generations', text);
  return seedOrError(status, body);
}

function seedOrError(status: number, body: unknown) {
  const { data, error } = body as {
    data?: { seed: unknown; srds: { evaluations: unknown } }[];
    error?: { param: unknown };
  };
  return { status, seed: data?.[0].seed, evaluations: data?.[0].srds.evaluations, param: error?.param };
}

test('a form takes the same texts of seeds as JSON takes numbers', async () => {
  for (const seed of [
    '0',
    '7',
    '12.0',
    '1e3',
    '9007199254740993',
    '18446744073709551615',
    '18446744073709551616',
    '-2',
    '1.5',
    '1e400',
  ]) {
    const [form, json] = [await edit([['seed', seed]]), await generation(`"seed": ${seed}`)];
    const of = ({ status, seed, param }: typeof form) => ({ status, seed, param });
    assert.deepEqual(of(form), of(json), seed);
  }
});

test('a form takes numbers, and lists of blocks in one field or in several, as JSON does', async () => {
  const list = await generation('"blocks": [1, 3], "seed": 1, "tolerance": 0');
  assert.equal(list.status, 200);
  const fixed = [
    ['seed', '1'],
    ['tolerance', '0'],
  ] as const;
  for (const blocks of [
    [['blocks', '[1,3]']],
    [['blocks', '[ 1, 3 ]']],
    [
      ['blocks', '1'],
      ['blocks', '3'],
    ],
    [
      ['blocks[]', '1'],
      ['blocks[]', '3'],
    ],
  ] as const) {
    const form = await edit([...fixed, ...blocks]);
    assert.deepEqual([form.status, form.evaluations], [200, list.evaluations], JSON.stringify(blocks));
  }
  assert.deepEqual(
    (await edit([...fixed, ['blocks', '2']])).evaluations,
    (await generation('"blocks": 2, "seed": 1, "tolerance": 0')).evaluations,
  );
  for (const bad of ['[1,', '[1,,3]', '1,3', '[[1],3]']) {
    const { status, param } = await edit([['blocks', bad]]);
    assert.deepEqual([status, param], [400, 'blocks'], bad);
  }
  assert.deepEqual(
    await edit([
      ['steps', '2'],
      ['steps', '2'],
    ]).then(({ status, param }) => [status, param]),
    [400, 'steps'],
  );
});

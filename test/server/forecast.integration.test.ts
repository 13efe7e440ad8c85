import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { z } from 'zod';
import { serve } from '../support/serve.js';
import { post } from '../support/server.js';

// Nothing is known from earlier runs of the tests.
const cache = mkdtempSync(join(tmpdir(), 'srds-'));
process.env.XDG_CACHE_HOME = cache;
after(() => rmSync(cache, { recursive: true, force: true }));

const answer = z.object({
  forecast: z
    .object({ sampler: z.string(), reason: z.string(), seconds: z.number(), serialSeconds: z.number() })
    .nullable(),
});

test('a forecast rests on what runs have shown: nothing, then how long the serial sampler takes; it runs nothing', async () => {
  const { url } = await serve();
  const batches = async () => /^srds_batch\w*_count\S* (\d+)$/m.exec(await (await fetch(`${url}/metrics`)).text())?.[1];
  const request = { prompt: 'a red ball', size: '32x32', steps: 30 };
  const forecast = async () => {
    const before = await batches();
    const response = await post(url, '/srds/v1/forecast', request);
    assert.equal(response.status, 200);
    assert.equal(await batches(), before);
    return answer.parse(response.body).forecast;
  };
  assert.equal(await forecast(), null);
  // Serial runs teach how long an evaluation takes, once their batches take about equally long.
  let known: Awaited<ReturnType<typeof forecast>> = null;
  for (let run = 0; run < 50 && !known; run++) {
    assert.equal((await post(url, '/v1/images/generations', { ...request, sampler: 'serial' })).status, 200);
    known = await forecast();
  }
  assert.ok(known && known.serialSeconds > 0 && known.seconds > 0 && known.reason !== '');
  // Rows are not known to cost less together.
  assert.deepEqual([known.sampler, known.seconds], ['serial', known.serialSeconds]);
  assert.equal((await post(url, '/srds/v1/forecast', { ...request, unknown: 1 })).status, 400);
});

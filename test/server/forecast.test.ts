import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readModelFolder, type ModelFolder } from 'srds/model';
import type { GenerateForecast, GenerateOptions } from 'srds/pipeline';
import { parseConfig } from 'srds/server';
import { forecastEndpoint } from '../../src/server/forecast.js';
import type { Caller } from '../../src/server/endpoint.js';
import type { Services } from '../../src/server/services.js';
import { SD15 } from '../support/server.js';

const KNOWN: GenerateForecast = { sampler: 'serial', reason: undefined, seconds: 1, serialSeconds: 1 };
const never = new AbortController().signal;

/** The endpoint with a model whose forecasts last until they are ended. */
async function forecasts(maxSteps = 100) {
  const folder: ModelFolder = await readModelFolder(SD15);
  const asked: GenerateOptions[] = [];
  const ends: (() => void)[] = [];
  const forecast = (options: GenerateOptions) => {
    asked.push(options);
    return new Promise<GenerateForecast>((resolve) => ends.push(() => resolve(KNOWN)));
  };
  const state = { isLoaded: true };
  const models = {
    find: () => ({ name: folder.name, folder, bytes: 0 }),
    opened: () => (state.isLoaded ? { forecast } : undefined),
  };
  const config = parseConfig([{ name: 'the test', settings: { models: [SD15], maxSteps } }]);
  const { body, handle } = forecastEndpoint({ config, models } as unknown as Services);
  const ask = async (signal: AbortSignal = never) => {
    const request = body!.parse({ prompt: 'a red ball' });
    return handle(request, { signal } as Caller, undefined as never);
  };
  return { folder, asked, ends, state, ask };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const contentOf = async (answer: Promise<Response>) => (await (await answer).json()) as { forecast: unknown };

test('a request that waits for its turn is answered from what is loaded then', async () => {
  const { ask, asked, ends, state } = await forecasts();
  const [first, second] = [ask(), ask()];
  await turn();
  state.isLoaded = false;
  ends[0]();
  assert.deepEqual(await contentOf(first), { forecast: { ...KNOWN, reason: null } });
  assert.deepEqual(await contentOf(second), { forecast: null });
  assert.equal(asked.length, 1);
});

test('without a number of steps a forecast is for those that an image would get', async () => {
  const few = await forecasts(3);
  void few.ask();
  const many = await forecasts(1000);
  void many.ask();
  await turn();
  const { steps } = many.asked[0];
  assert.ok(steps !== undefined && steps > 3);
  assert.equal(few.asked[0].steps, 3);
});

test('one forecast is made at a time, seven wait, more are refused; who leaves makes room at once', async () => {
  const { ask, asked, ends } = await forecasts();
  const leaving = new AbortController();
  const waiting = [ask(), ask(leaving.signal), ...Array.from({ length: 6 }, () => ask())];
  await turn();
  assert.equal(asked.length, 1);
  await assert.rejects(ask(), { status: 429, code: 'too_many_forecasts', headers: { 'retry-after': '1' } });
  leaving.abort(new Error('gone'));
  await assert.rejects(waiting[1], { message: 'gone' });
  waiting[1] = ask();
  for (let k = 0; k < 8; k++) {
    await turn();
    assert.equal(asked.length, k + 1);
    ends[k]();
  }
  for (const answer of waiting) assert.equal((await answer).status, 200);
  assert.equal(asked.length, 8);
});

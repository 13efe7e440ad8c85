// Images a second of a full server by sampler, in alternating rounds: the cost of speculation. `npm run bench:saturation [-- SECONDS]`
import { createLog, parseConfig, startServer } from 'srds/server';

const CLIENTS = 16;
const ROUNDS = 3;
const SECONDS = Number(process.argv[2] ?? 15);
const SAMPLERS = ['serial', 'auto', 'srds'] as const;

const settings = { port: 0, models: ['test/fixtures/models/sd15'], logLevel: 'silent', concurrency: 8 };
const server = await startServer(parseConfig([{ name: 'the benchmark', settings }]), {
  log: createLog('silent'),
  signal: new AbortController().signal,
});

async function generate(sampler: string, seed: number): Promise<number> {
  const response = await fetch(`${server.url}/v1/images/generations`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: 'a red ball', steps: 25, seed, sampler }),
  });
  const { usage } = (await response.json()) as { usage: { output_tokens: number } };
  return usage.output_tokens;
}

/** Images a second and evaluations an image. */
async function measure(sampler: string): Promise<{ rate: number; evaluations: number }> {
  const begin = performance.now();
  let images = 0;
  let evaluations = 0;
  const client = async (number: number) => {
    for (let k = 0; performance.now() - begin < SECONDS * 1000; k++) {
      const made = await generate(sampler, 1000 * number + k);
      evaluations += made;
      images++;
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, (_, k) => client(k)));
  return { rate: (1000 * images) / (performance.now() - begin), evaluations: evaluations / images };
}

const rates = new Map<string, number[]>();
const each = new Map<string, number>();
for (const sampler of SAMPLERS) await generate(sampler, 0);
for (let round = 0; round < ROUNDS; round++) {
  for (const sampler of SAMPLERS) {
    const { rate, evaluations } = await measure(sampler);
    rates.set(sampler, [...(rates.get(sampler) ?? []), rate]);
    each.set(sampler, evaluations);
  }
}
await server.close();

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
console.log('| sampler | images a second | against serial | evaluations an image |\n|---|---|---|---|');
for (const sampler of SAMPLERS) {
  const ratios = (rates.get(sampler) ?? []).map((rate, i) => rate / (rates.get('serial')?.[i] ?? rate));
  const cells = [
    sampler,
    median(rates.get(sampler) ?? []).toFixed(1),
    median(ratios).toFixed(2),
    each.get(sampler)?.toFixed(1),
  ];
  console.log(`| ${cells.join(' | ')} |`);
}

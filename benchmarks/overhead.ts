// Where the time of an image goes that is alone on its devices. `npm run bench:overhead [-- N ... --model FOLDER --device NAME --images COUNT]`
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { Pipeline } from 'srds';
import { markdown, promptOf } from 'srds/benchmark';
import type { BatchReport } from 'srds/engine';

const { values, positionals } = parseArgs({
  options: { model: { type: 'string' }, device: { type: 'string' }, images: { type: 'string', default: '3' } },
  allowPositionals: true,
});
const counts = positionals.length > 0 ? positionals.map(Number) : [100];
const images = Number(values.images);
/** Before these the code is not compiled yet, and sessions open. */
const WARM_UP = 2;
const HEAD = [
  'N',
  'sampler',
  'prompt to image, ms',
  'batches',
  'in the network',
  'copies and messages',
  'host, between batches',
  'prompt, decoding, the rest',
];

interface Parts {
  readonly total: number;
  readonly batches: number;
  /** Inside the network; in batches, outside it; between batches. */
  readonly network: number;
  readonly messages: number;
  readonly host: number;
}

let batches: BatchReport[] = [];
const pipeline = await Pipeline.open(values.model, {
  devices: values.device,
  onBatch: (report) => batches.push(report),
});
try {
  const { network } = pipeline.model.family;
  /** The times of one image on one device. With several, batches overlap. */
  const generate = async (sampler: 'serial' | 'srds', steps: number, seed: number): Promise<Parts> => {
    batches = [];
    const begin = performance.now();
    await pipeline.generate({ prompt: promptOf(seed), steps, sampler, seed, previews: false }).result;
    const total = performance.now() - begin;
    const own = batches.filter(({ graph }) => graph === network);
    const sum = (of: (batch: BatchReport, k: number) => number) => own.reduce((all, batch, k) => all + of(batch, k), 0);
    return {
      total,
      batches: own.length,
      network: sum(({ networkMs }) => networkMs),
      messages: sum(({ begin, end, networkMs }) => end - begin - networkMs),
      host: sum(({ begin }, k) => (k > 0 ? begin - own[k - 1].end : 0)),
    };
  };
  const rows: string[][] = [];
  for (const steps of counts) {
    for (const sampler of ['serial', 'srds'] as const) {
      const all: Parts[] = [];
      for (let seed = 0; seed < WARM_UP + images; seed++) {
        all.push(await generate(sampler, steps, seed));
        // A batch that still runs when the sample is complete must not delay the next image.
        await new Promise((resolve) => setTimeout(resolve, 1000));
      }
      const parts = all.slice(WARM_UP);
      const mean = (of: (one: Parts) => number) => parts.reduce((sum, one) => sum + of(one), 0) / parts.length;
      const total = mean((one) => one.total);
      const shares = [mean((one) => one.network), mean((one) => one.messages), mean((one) => one.host)];
      const rest = total - shares.reduce((a, b) => a + b);
      const cells = [...shares, rest].map((part) => `${part.toFixed(1)} (${((100 * part) / total).toFixed(0)} %)`);
      rows.push([String(steps), sampler, total.toFixed(1), mean((one) => one.batches).toFixed(0), ...cells]);
    }
  }
  console.log(`${cpus()[0].model}, ${cpus().length} processors, Node ${process.version}, ${pipeline.engine.device}\n`);
  console.log(markdown([HEAD, ...rows]));
} finally {
  await pipeline.close();
}

// Share of the sampling time outside the network, N = 100 on the bundled model. `npm run bench:overhead`
import { cpus } from 'node:os';
import { Pipeline } from 'srds';

const RUNS = 3;
let network = 0;
const pipeline = await Pipeline.open(undefined, { onBatch: ({ networkMs }) => (network += networkMs / 1000) });
try {
  console.log(`${cpus()[0].model}, ${cpus().length} processors, Node ${process.version}`);
  console.log('| sampler | sampling, s | in the network, s | outside |');
  console.log('|---|---|---|---|');
  for (const sampler of ['serial', 'srds'] as const) {
    const shares: { outside: number; row: string }[] = [];
    for (let run = 0; run < RUNS; run++) {
      const result = await measure(sampler);
      // Dropped batches end after the sample. The pause keeps them out of the next measurement.
      await new Promise((resolve) => setTimeout(resolve, 1000));
      shares.push(result);
    }
    shares.sort((a, b) => a.outside - b.outside);
    console.log(shares[Math.floor(RUNS / 2)].row);
  }
} finally {
  await pipeline.close();
}

async function measure(sampler: 'serial' | 'srds'): Promise<{ outside: number; row: string }> {
  network = 0;
  const { seconds } = await pipeline.generate({ prompt: 'a red ball on the beach', steps: 100, sampler }).result;
  // A batch that still runs when the sample is complete does not count: its time would hide time outside the network.
  const outside = 1 - network / (seconds.encode + seconds.sample + seconds.decode);
  const cells = [
    sampler,
    (seconds.sample + seconds.decode).toFixed(2),
    network.toFixed(2),
    `${(100 * outside).toFixed(1)} %`,
  ];
  return { outside, row: `| ${cells.join(' | ')} |` };
}

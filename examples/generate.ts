// Generates an image with SRDS on the bundled model and follows its iterations.
import { writeFile } from 'node:fs/promises';
import { encodePng, Pipeline } from 'srds';

const pipeline = await Pipeline.open();
const run = pipeline.generate({ prompt: 'a red ball on the beach', steps: 50, seed: 7, sampler: 'srds' });
for await (const event of run) {
  if (event.type === 'iteration') console.log(`iteration ${event.iteration}: next change ${event.residual ?? '-'}`);
}
const { images } = await run.result;
for (const { rgb, status, evaluations } of images) {
  if (rgb) await writeFile('red-ball.png', await encodePng(rgb));
  console.log(status, evaluations);
}
await pipeline.close();

/**
 * Change of the image in grey levels for a change of the latents of root mean square 1, over iterations of some prompts. The
 * stopping rule relies on this ratio (src/model/latentScale.ts). `npm run bench:stopping [-- MODEL]`
 */
import { Pipeline } from 'srds';
import { promptOf } from 'srds/benchmark';

const PROMPTS = 24;
/** Changes of an image below this are mostly rounding to 8 bits. */
const LEAST_GREY = 0.05;

const ratios: number[] = [];
const pipeline = await Pipeline.open(process.argv[2]);
try {
  const { greyLevels } = pipeline.model.family;
  console.log(
    '| prompt | iteration | change of the image | of the latents | grey levels per unit |\n|---|---|---|---|---|',
  );
  for (let seed = 0; seed < PROMPTS; seed++) {
    const prompt = promptOf(seed);
    const options = {
      prompt,
      seed,
      steps: 25,
      sampler: 'srds',
      pipelined: false,
      maxIterations: 3,
      tolerance: 0,
    } as const;
    const residuals = async (stopping: 'change' | 'look-ahead') =>
      (await pipeline.generate({ ...options, stopping }).result).images[0].residuals;
    // With barriers the predicted change is that of the last iteration.
    const [images, predicted] = [await residuals('change'), await residuals('look-ahead')];
    images.forEach((image, k) => {
      const latents = predicted[k] / greyLevels;
      if (image < LEAST_GREY) return;
      ratios.push(image / latents);
      const cells = [prompt, k + 1, image.toFixed(3), latents.toFixed(5), (image / latents).toFixed(1)];
      console.log(`| ${cells.join(' | ')} |`);
    });
  }
  ratios.sort((a, b) => a - b);
  const quantile = (share: number) => ratios[Math.floor(share * (ratios.length - 1))].toFixed(1);
  console.log(
    `\n${ratios.length} changes: least ${quantile(0)}, quartiles ${quantile(0.25)}, ${quantile(0.5)} and ${quantile(0.75)}, most ${quantile(1)}; assumed ${greyLevels}`,
  );
} finally {
  await pipeline.close();
}

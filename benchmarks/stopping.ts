/**
 * Change of the image in grey levels per unit of change of the latents, for each iteration of some prompts. The stopping rule relies
 * on this ratio. `npm run bench:stopping`
 */
import { Pipeline } from 'srds';
import { promptOf } from 'srds/benchmark';

/** Factor of an estimate (src/pipeline/stopping.ts). */
const USUAL = 36;
const PROMPTS = 8;

const ratios: number[] = [];
const pipeline = await Pipeline.open();
try {
  console.log('| prompt | change of the image | of the latents | grey levels per unit |\n|---|---|---|---|');
  for (let seed = 0; seed < PROMPTS; seed++) {
    const options = { prompt: promptOf(seed), seed, steps: 25, sampler: 'srds', maxIterations: 4 } as const;
    // With tolerance 0 and no previews nothing is decoded: all residuals are estimates.
    const images = (await pipeline.generate({ ...options, tolerance: 0 }).result).images[0].residuals;
    const latents = (await pipeline.generate({ ...options, tolerance: 0, previews: false }).result).images[0].residuals;
    images.forEach((image, k) => {
      const latent = latents[k] / USUAL;
      if (latent === 0) return;
      ratios.push(image / latent);
      console.log(
        `| ${options.prompt} | ${image.toFixed(3)} | ${latent.toFixed(5)} | ${(image / latent).toFixed(1)} |`,
      );
    });
  }
  ratios.sort((a, b) => a - b);
  const middle = ratios[Math.floor(ratios.length / 2)];
  console.log(
    `\nleast ${ratios[0].toFixed(1)}, median ${middle.toFixed(1)}, most ${ratios[ratios.length - 1].toFixed(1)}`,
  );
} finally {
  await pipeline.close();
}

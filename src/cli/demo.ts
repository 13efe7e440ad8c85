import { extname } from 'node:path';
import { Command } from 'commander';
import type { GenerateEvent } from '../pipeline/result.js';
import type { RgbImage } from '../image/image.js';
import { runGenerate } from './runGenerate.js';
import { sideBySide } from './montage.js';
import { writeFiles } from './output.js';
import { differenceToSerial, summary } from './report.js';
import { GENERATION_OPTIONS } from '../pipeline/options/generation.js';
import { addFlags } from './optionFlags.js';

const PROMPT = 'a green cube beside a small black ball on the beach at sunset';
const { steps, seed } = GENERATION_OPTIONS;
const OPTIONS = { steps: { ...steps, default: 50 }, seed: { ...seed, default: 11 } };
const COLUMNS = ['iteration', 'sequential evaluations', 'change in grey levels'] as const;

/** `srds demo`, which `npm start` calls: one image, and how it was reached. */
export function demoCommand(signal: AbortSignal): Command {
  const command = new Command('demo')
    .description('draw an image with SRDS and show how it got there')
    .argument('[prompt]', 'what to draw', PROMPT)
    .option('--out <folder>', 'where the images go', 'out/')
    .option('--compare', 'draw the serial sample too and measure the difference');
  return addFlags(command, OPTIONS).action(
    async (prompt: string, flags: { steps?: number; seed?: bigint; out: string; compare?: boolean }) => {
      const previews: RgbImage[] = [];
      const rows: string[][] = [];
      const onEvent = (event: GenerateEvent): void => {
        if (event.type !== 'iteration') return;
        if (event.preview) previews.push(event.preview);
        const change = event.residual?.toFixed(2) ?? '';
        rows.push([
          event.iteration === 0 ? 'coarse' : String(event.iteration),
          String(event.evaluations.critical),
          change,
        ]);
      };
      const { result, context } = await runGenerate({
        generate: {
          prompt,
          previews: true,
          steps: flags.steps ?? OPTIONS.steps.default,
          seed: flags.seed ?? OPTIONS.seed.default,
          compare: flags.compare ?? false,
        },
        open: {},
        out: flags.out,
        progress: true,
        warnings: true,
        signal,
        onEvent,
      });
      const [image] = result.images;
      const [file] = context.files;
      if (file === null) return;
      const montage = `${file.slice(0, file.length - extname(file).length)}-iterations.png`;
      await writeFiles([{ path: montage, bytes: await sideBySide(previews) }]);
      const { evaluations, error } = image;
      const say = (line = '') => void process.stdout.write(`${line}\n`);
      say(
        `"${prompt}", ${result.settings.steps} steps, ${result.settings.partition.length} blocks, on the ${context.device}`,
      );
      say();
      table(rows).forEach(say);
      say();
      say(`${capital(summary(image))}.`);
      say(
        `Critical path ${(evaluations.serial / evaluations.critical).toFixed(1)} times shorter; sampling took ${result.seconds.sample.toFixed(1)} s.`,
      );
      if (context.device === 'cpu') {
        say('On a CPU the evaluations of a batch take turns, so SRDS is seldom faster than the serial sampler there;');
        say('a shorter critical path saves time on hardware that evaluates a batch about as fast as one.');
      }
      if (error) say(`${capital(differenceToSerial(error))}.`);
      say();
      say(`Image:      ${file}`);
      say(`Iterations: ${montage}`);
      say();
      say('Next: npm start -- "a small green cone on grass" --compare');
      say('      npx srds generate --help');
    },
  );
}

function table(rows: readonly (readonly string[])[]): string[] {
  return [COLUMNS, ...rows].map((row) => row.map((cell, k) => cell.padStart(COLUMNS[k].length)).join('   '));
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

import { extname } from 'node:path';
import { Command } from 'commander';
import type { GenerateEvent } from '../pipeline/result.js';
import type { RgbImage } from '../image/image.js';
import { plural } from '../errors.js';
import { runGenerate } from './runGenerate.js';
import { sideBySide } from './montage.js';
import { writeFiles } from './output.js';
import { differenceToSerial, summary, timeText } from './report.js';
import { printedTable } from './table.js';
import { GENERATION_OPTIONS } from '../pipeline/options/generation.js';
import { addFlags } from './optionFlags.js';

const PROMPT = 'a green cube beside a small black ball on the beach at sunset';
/** What to draw next. */
const NEXT = ['a small green cone on grass', 'a blue ball on the beach'];
const { steps, seed } = GENERATION_OPTIONS;
const OPTIONS = { steps: { ...steps, default: 50, defaultText: '50' }, seed: { ...seed, default: 11 } };
const COLUMNS = ['iteration', 'sequential evaluations', 'predicted change in grey levels'] as const;

/** `srds demo`, which `npm start` runs: generates one image and shows its iterations. */
export function demoCommand(signal: AbortSignal): Command {
  const command = new Command('demo')
    .description('generate an image with SRDS and show its iterations')
    .argument('[prompt]', 'what the image shows', PROMPT)
    .optionsGroup('What to draw:');
  addFlags(command, OPTIONS);
  command
    .optionsGroup('Output:')
    .option('--out <folder>', 'folder for the images', 'out/')
    .option('--compare', 'generate the serial image too and measure the difference');
  return command.action(
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
      const print = (line = '') => void process.stdout.write(`${line}\n`);
      print(
        `"${prompt}", ${plural(result.settings.steps, 'step')}, ${plural(result.settings.partition.length, 'block')}, on the ${context.device}`,
      );
      print();
      print(printedTable([COLUMNS, ...rows]));
      print();
      print(`${capital(summary(image, 'srds'))}.`);
      print(
        `Critical path ${(evaluations.serial / evaluations.critical).toFixed(1)} times shorter; ${timeText(result, context.totalSeconds)}.`,
      );
      if (context.device === 'cpu') {
        print(
          'A CPU computes the evaluations of a batch one after the other, so SRDS is seldom faster than serial there;',
        );
        print('a shorter critical path saves time on hardware that evaluates a batch about as fast as a single row.');
      }
      if (error) print(`${capital(differenceToSerial(error))}.`);
      print();
      print(`Image:      ${file}`);
      print(`Iterations: ${montage}`);
      print();
      print(`Next: npm start -- "${NEXT.find((next) => next !== prompt)}" --compare`);
      print('      npx srds generate --help');
    },
  );
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

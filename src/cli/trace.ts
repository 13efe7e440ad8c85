import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { Command } from 'commander';
import { fileRemedy, messageOf, SrdsError } from '../errors.js';
import { parseTrace } from '../pipeline/trace.js';
import { checkWritable, writeFiles } from './output.js';

/** `srds trace`. */
export function traceCommand(): Command {
  return new Command('trace')
    .description('chart a trace of srds generate --trace: when each evaluation ran, and in which batch')
    .argument('<file>', 'the trace')
    .option('--out <file>', 'SVG or HTML file', 'trace.svg')
    .action(async (file: string, { out }: { out: string }) => {
      const kind = extname(out).toLowerCase();
      if (!['.svg', '.html'].includes(kind)) {
        throw new SrdsError(
          'INVALID_OPTION',
          'a name that ends in .svg or .html for --out',
          out,
          'change the extension',
        );
      }
      await checkWritable(out);
      const text = await readFile(file, 'utf8').catch((error: unknown) => {
        throw new SrdsError(
          'INVALID_OPTION',
          `a trace at ${file}`,
          messageOf(error),
          fileRemedy(error, 'see srds generate --trace'),
        );
      });
      const trace = parseTrace(text, file);
      const { gantt } = await import('../chart/gantt.js');
      const { page } = await import('../chart/html.js');
      const svg = gantt(trace);
      await writeFiles([{ path: out, bytes: Buffer.from(kind === '.svg' ? svg : page(trace.title, svg)) }]);
      process.stdout.write(`${out}\n`);
    });
}

import { join } from 'node:path';
import { markdown } from '../benchmark/benchmarkSummary.js';
import { writeFiles } from './output.js';

/** What was run on and a table of results, as text. The first row is the table's header. */
export function resultsText(
  about: string,
  rows: readonly (readonly string[])[],
  table: (rows: readonly (readonly string[])[]) => string = markdown,
): string {
  return `${about}\n\n${table(rows)}\n`;
}

/** Writes results.json and table.md. @param json content of the first @param text content of the second */
export function writeResults(out: string, json: string, text: string): Promise<void> {
  return writeFiles([
    { path: join(out, 'results.json'), bytes: Buffer.from(`${json}\n`) },
    { path: join(out, 'table.md'), bytes: Buffer.from(text) },
  ]);
}

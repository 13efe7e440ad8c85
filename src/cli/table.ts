import { markdown } from '../benchmark/benchmarkSummary.js';

/** A table for standard output: aligned on a terminal, Markdown for a file or a program. The first row is the head. */
export function printedTable(rows: readonly (readonly string[])[]): string {
  return (process.stdout.isTTY ? aligned : markdown)(rows);
}

/** A table for a terminal: columns are aligned, those of numbers to the right. The first row is the head. */
export function aligned(rows: readonly (readonly string[])[]): string {
  const [head, ...body] = rows;
  const widths = head.map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const isNumeric = head.map((_, column) => body.every((row) => /^[\d.]+x?$/.test(row[column])));
  const line = (row: readonly string[]) =>
    row.map((cell, k) => (isNumeric[k] ? cell.padStart(widths[k]) : cell.padEnd(widths[k]))).join('  ');
  return rows.map((row) => line(row).trimEnd()).join('\n');
}

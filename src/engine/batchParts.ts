import { rowsOf, type Batch, type BatchResult, type Evaluation } from './engine.js';

/**
 * A batch in parts of at most so many rows, in their order. An evaluation with more rows than that is split into its rows.
 * @example
 * partsOf([guided, guided, guided], 4); // [[guided, guided], [guided]]
 */
export function partsOf(batch: Batch, maxRows = Infinity): Batch[] {
  const pieces = batch.flatMap((evaluation) => piecesOf(evaluation, maxRows));
  return rangesWithin(maxRows, pieces.map(rowsOf)).map((range) => pieces.slice(...range));
}

/** Ranges [from, to) of evaluations of at most so many rows. An evaluation with more is a range of its own. @param rows of each */
export function rangesWithin(maxRows: number, rows: readonly number[]): [from: number, to: number][] {
  const ranges: [number, number][] = [];
  let from = 0;
  let taken = 0;
  rows.forEach((count, k) => {
    if (k > from && taken + count > maxRows) {
      ranges.push([from, k]);
      [from, taken] = [k, 0];
    }
    taken += count;
  });
  return [...ranges, [from, rows.length]];
}

/** The result of a batch from those of its parts. */
export function joinedResult(batch: Batch, parts: readonly BatchResult[]): BatchResult {
  const rows = parts.flatMap(({ outputs }) => outputs.flat());
  let at = 0;
  return {
    outputs: batch.map((evaluation) => rows.slice(at, (at += rowsOf(evaluation)))),
    seconds: parts.reduce((sum, { seconds }) => sum + seconds, 0),
    rows: parts.reduce((sum, part) => sum + part.rows, 0),
    device: parts[0].device,
  };
}

function piecesOf(evaluation: Evaluation, maxRows: number): Evaluation[] {
  const { conditioning } = evaluation;
  if (!conditioning || conditioning.length <= maxRows) return [evaluation];
  return conditioning.map((id) => ({ ...evaluation, conditioning: [id] }));
}

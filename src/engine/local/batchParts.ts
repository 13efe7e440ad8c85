import { rowsOf, type Batch, type BatchResult, type Evaluation } from '../engine.js';

/**
 * A batch in parts of at most so many rows, in their order. An evaluation with more rows than that is split into its rows.
 * @example
 * partsOf([guided, guided, guided], 4); // [[guided, guided], [guided]]
 */
export function partsOf(batch: Batch, maxRows = Infinity): Batch[] {
  const pieces = batch.flatMap((evaluation) => piecesOf(evaluation, maxRows));
  const parts: Evaluation[][] = [];
  let rows = 0;
  for (const piece of pieces) {
    rows += rowsOf(piece);
    if (parts.length > 0 && rows <= maxRows) parts[parts.length - 1].push(piece);
    else {
      parts.push([piece]);
      rows = rowsOf(piece);
    }
  }
  return parts;
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

import { secondsText } from './progress.js';
import type { RunState } from './run.js';

/**
 * A finished run against the serial sampler, in words; undefined if there is nothing to compare.
 * @param raced seconds of the serial run of the same race
 */
export function comparisonOf(state: RunState, raced: number | undefined): string | undefined {
  const { plan, seconds, serialSeconds, images } = state;
  if (!plan || seconds === undefined) return undefined;
  if (plan.sampler === 'serial')
    return plan.reason === null ? undefined : `Auto took the serial sampler: ${plan.reason}.`;
  const serial = raced ?? serialSeconds ?? plan.serialSeconds;
  if (serial === null) return undefined;
  const about = raced === undefined ? 'about ' : '';
  const isInTurn = images.length > 1 && serial === serialSeconds;
  const sampler = `the serial sampler${isInTurn ? ', one image after the other,' : ''}`;
  const times = `${secondsText(seconds)}, ${sampler} ${about}${secondsText(serial)}`;
  if (serial > 1.05 * seconds) return `${times}: ${(serial / seconds).toFixed(1)} times faster.`;
  if (serial > 0.95 * seconds) return `${times}: no difference here.`;
  return `${times}: slower here. ${whySlower(state)}`;
}

/** Why a run was slower than the serial sampler: what its batches cost, measured. */
function whySlower({ batches }: RunState): string {
  const times = (from: number, to: number) =>
    batches.filter(({ evaluations: { length } }) => length >= from && length <= to);
  const alone = middle(times(1, 1).map(({ begin, end }) => end - begin));
  const large = times(2, Infinity);
  const each = middle(large.map(({ begin, end, evaluations }) => (end - begin) / evaluations.length));
  if (alone === undefined || each === undefined) return 'Auto takes what is fastest.';
  const size = Math.round(middle(large.map(({ evaluations }) => evaluations.length)) ?? 2);
  const factor = ((each * size) / alone).toFixed(1);
  return `A batch of ${size} evaluations takes ${factor} times as long here as a single one, so working ahead does not pay. Auto takes what is fastest.`;
}

function middle(values: readonly number[]): number | undefined {
  return values.toSorted((a, b) => a - b).at(Math.floor(values.length / 2));
}

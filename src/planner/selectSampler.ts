import { rowsNotWorthSplitting } from './curve.js';
import { forecastSrds, plan, type Candidate, type Plan } from './plan.js';
import type { Machine } from '../run/simulate.js';
import { addsNoise } from '../solver/registry.js';
import { isMultistep } from '../solver/solver.js';
import type { Settings } from '../pipeline/options.js';

/** What the planner chose. */
export interface Choice {
  readonly reason: string;
  /** Not there where nothing had to be compared. */
  readonly chosen?: Candidate;
}

/** Settings with a sampler in the place of `auto`. */
export interface Chosen {
  readonly settings: Settings;
  /** Not there if the sampler was given. */
  readonly choice?: Choice;
  /** How large batches should be, if that is known of the devices or there are buckets. */
  readonly room?: Room | undefined;
}

/** How large batches should be, in rows. */
export interface Room {
  /** Of the largest that pays. */
  readonly maxRows: number;
  /** That one call should take of it; undefined: all. */
  readonly maxClientRows?: number | undefined;
  /** Of one that is not worth splitting over devices. */
  readonly minRows: number;
}

/** Chooses samplers and sizes of batches. What it has planned it remembers: a plan takes as long as some batches do. */
export class Planner {
  private readonly plans = new Map<string, Plan>();
  private readonly sizes = new Map<string, number>();

  /**
   * Chooses the sampler for `auto`.
   * @param busy whether the devices have no room for more evaluations than a serial sampler makes
   * @param machine measures the devices, if need be
   */
  async choose(settings: Settings, busy: boolean, machine: () => Promise<Machine>): Promise<Chosen> {
    const serial = (reason: string): Chosen => ({ settings: { ...settings, sampler: 'serial' }, choice: { reason } });
    const { method, tolerance, grid } = settings;
    if (isMultistep(method)) return serial(`${method.name} is for the serial sampler only`);
    if (tolerance === 0)
      return serial(
        'with tolerance 0 the result is the serial sample, which the serial sampler finds with the least work',
      );
    if (grid.length === 1) return serial('there is one step only');
    if (busy) return serial('the devices have no room for more than a serial sampler needs');
    const measured = await machine();
    return chosenBy(this.planFor(settings, measured), settings, measured);
  }

  /** How large batches should be for settings whose sampler is known. */
  roomFor(settings: Settings, machine: Machine): Room {
    const { sampler, pipelined, partition, method, tolerance, maxIterations } = settings;
    const room = roomOn(machine);
    if (sampler !== 'srds' || !pipelined || isMultistep(method)) return room;
    const { evaluationsPerStep } = method;
    const stopping = { tolerance, maxIterations };
    const maxClientRows = remembered(
      this.sizes,
      [partition, evaluationsPerStep, stopping, machine],
      () => forecastSrds(partition, evaluationsPerStep, machine, stopping).maxRows,
    );
    return { ...room, maxClientRows };
  }

  /** The forecasts for settings. */
  private planFor(settings: Settings, machine: Machine): Plan {
    const { method, grid, partition, partitionGiven, srdsGiven, window, solver, eta, tolerance, maxIterations } =
      settings;
    const request = {
      steps: grid.length,
      evaluationsPerStep: isMultistep(method) ? 1 : method.evaluationsPerStep,
      partition: partitionGiven ? partition : undefined,
      // picard was compared with SRDS on trajectories without noise.
      windows: srdsGiven || addsNoise(solver, eta) ? [] : window === undefined ? undefined : [window],
      tolerance,
      maxIterations,
    };
    return remembered(this.plans, [request, machine], () => plan(request, machine));
  }
}

const MOST_REMEMBERED = 1000;

/** What was found for the same input before. */
function remembered<Value>(values: Map<string, Value>, input: unknown, find: () => Value): Value {
  const key = JSON.stringify(input);
  const known = values.get(key);
  if (known !== undefined) return known;
  if (values.size >= MOST_REMEMBERED) values.clear();
  const value = find();
  values.set(key, value);
  return value;
}

function roomOn({ maxRows, devices }: Machine): Room {
  return { maxRows, minRows: rowsNotWorthSplitting(devices[0]) };
}

function chosenBy({ chosen, reason }: Plan, settings: Settings, machine: Machine): Chosen {
  const choice = { reason, chosen };
  const room = roomOn(machine);
  switch (chosen.sampler) {
    case 'serial':
      return { settings: { ...settings, sampler: 'serial' }, choice, room };
    case 'srds':
      return {
        settings: { ...settings, sampler: 'srds', partition: chosen.partition },
        choice,
        room: { ...room, maxClientRows: chosen.maxRows },
      };
    case 'picard':
      return { settings: { ...settings, sampler: 'picard', window: chosen.window }, choice, room };
  }
}

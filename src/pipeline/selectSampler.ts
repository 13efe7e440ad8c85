import { LRUCache } from 'lru-cache';
import { rowsNotWorthSplitting } from '../planner/curve.js';
import { forecastSrds, type Machine } from '../planner/forecast.js';
import { plan, type Candidate, type Plan } from '../planner/plan.js';
import { addsNoise } from '../solver/registry.js';
import { isMultistep } from '../solver/solver.js';
import type { Settings } from './options.js';

/** The planner's choice of a sampler. */
export interface Choice {
  /** In words. */
  readonly reason: string;
  /** Undefined if nothing had to be compared. */
  readonly chosen?: Candidate;
}

/** Sizes of batches, in rows. */
export interface BatchLimits {
  /** The largest batch that is worth its time. */
  readonly maxRows: number;
  /** The share of a batch that one call should take; undefined: all. */
  readonly maxClientRows?: number | undefined;
  /** The largest batch that is not worth splitting over devices. */
  readonly minRows: number;
}

/** Settings with a sampler in place of `auto`. */
export interface SelectedSampler {
  readonly settings: Settings;
  /** Undefined if the sampler was given. */
  readonly choice?: Choice;
  /** Undefined if nothing is known of the devices. */
  readonly limits?: BatchLimits | undefined;
}

const MAX_PLANS = 1000;

/** Selects samplers and batch sizes. Plans are cached, since a plan takes as long as some batches. */
export class SamplerSelector {
  private readonly plans = new LRUCache<string, Plan>({ max: MAX_PLANS });
  private readonly clientRows = new LRUCache<string, number>({ max: MAX_PLANS });

  /**
   * Selects the sampler for `auto`.
   * @param busy whether the devices take no more evaluations at a time than the serial sampler makes
   * @param machineOf measures the devices if necessary
   */
  async select(settings: Settings, busy: boolean, machineOf: () => Promise<Machine>): Promise<SelectedSampler> {
    const reason = reasonForSerial(settings, busy);
    if (reason !== undefined) return { settings: { ...settings, sampler: 'serial' }, choice: { reason } };
    const machine = await machineOf();
    return selected(this.planFor(settings, machine), settings, machine);
  }

  /** Batch sizes for settings with a given sampler. */
  limitsFor(settings: Settings, machine: Machine): BatchLimits {
    const { sampler, pipelined, partition, method, tolerance, maxIterations } = settings;
    const limits = limitsOn(machine);
    if (sampler !== 'srds' || !pipelined || isMultistep(method)) return limits;
    const { evaluationsPerStep } = method;
    const stopping = { tolerance, maxIterations };
    const maxClientRows = cached(
      this.clientRows,
      [partition, evaluationsPerStep, stopping, machine],
      () => forecastSrds(partition, evaluationsPerStep, machine, stopping).maxRows,
    );
    return { ...limits, maxClientRows };
  }

  private planFor(settings: Settings, machine: Machine): Plan {
    const { method, grid, partition, partitionGiven, srdsGiven, window, solver, eta, tolerance, maxIterations } =
      settings;
    const request = {
      steps: grid.length,
      evaluationsPerStep: isMultistep(method) ? 1 : method.evaluationsPerStep,
      partition: partitionGiven ? partition : undefined,
      // The comparison of picard with SRDS was on trajectories without noise.
      windows: srdsGiven || addsNoise(solver, eta) ? [] : window === undefined ? undefined : [window],
      tolerance,
      maxIterations,
    };
    return cached(this.plans, [request, machine], () => plan(request, machine));
  }
}

/** Why `auto` is the serial sampler without comparing; undefined if it has to compare. */
function reasonForSerial({ method, tolerance, grid }: Settings, busy: boolean): string | undefined {
  if (isMultistep(method)) return `${method.name} is for the serial sampler only`;
  if (tolerance === 0) {
    return 'with tolerance 0 the result is the serial sample, which the serial sampler finds with the least work';
  }
  if (grid.length === 1) return 'there is one step only';
  return busy ? 'the devices have no room for more than the serial sampler needs' : undefined;
}

function cached<Value extends object | number>(
  cache: LRUCache<string, Value>,
  input: unknown,
  compute: () => Value,
): Value {
  const key = JSON.stringify(input);
  const known = cache.get(key);
  if (known !== undefined) return known;
  const value = compute();
  cache.set(key, value);
  return value;
}

function limitsOn({ maxRows, devices }: Machine): BatchLimits {
  return { maxRows, minRows: rowsNotWorthSplitting(devices[0]) };
}

function selected({ chosen, reason }: Plan, settings: Settings, machine: Machine): SelectedSampler {
  const choice = { reason, chosen };
  const limits = limitsOn(machine);
  switch (chosen.sampler) {
    case 'serial':
      return { settings: { ...settings, sampler: 'serial' }, choice, limits };
    case 'srds': {
      const { partition, maxRows: maxClientRows } = chosen;
      return { settings: { ...settings, sampler: 'srds', partition }, choice, limits: { ...limits, maxClientRows } };
    }
    case 'picard':
      return { settings: { ...settings, sampler: 'picard', window: chosen.window }, choice, limits };
  }
}

import { LRUCache } from 'lru-cache';
import { basisOf } from '../planner/convergence.js';
import { rowsNotWorthSplitting } from '../planner/curve.js';
import { srdsForecast, type Machine, type StoppingRule } from '../planner/forecast.js';
import { cannotGain, planning, renewedPlan, type Candidate, type Plan, type PlanRequest } from '../planner/plan.js';
import { ALIKE, planKey, SAME } from '../planner/planKey.js';
import type { EvaluationCount } from '../run/events.js';
import type { Forecast } from '../run/simulate.js';
import { finishInTurns } from '../run/steps.js';
import { addsNoise } from '../solver/registry.js';
import { isMultistep } from '../solver/solver.js';
import type { Settings } from './options.js';

/** The planner's choice of a sampler. */
export interface Choice {
  /** In words. */
  readonly reason: string;
  /** What the forecasts rest on, in words; undefined if nothing had to be compared. */
  readonly basis?: string;
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
  /** Whether devices share the rows of an evaluation, as those of the serial sampler may. Parallel samplers fill them otherwise. */
  readonly splitsRows?: boolean | undefined;
}

/** Settings with a sampler in place of `auto`. */
export interface SelectedSampler {
  readonly settings: Settings;
  /** Undefined if the sampler was given. */
  readonly choice?: Choice;
  /** Undefined if nothing is known of the devices. */
  readonly limits?: BatchLimits | undefined;
  /** Evaluations that an image is expected to take; undefined for the serial sampler, and if no forecast was made. */
  readonly expected?: EvaluationCount | undefined;
}

type SrdsForecast = Forecast & { readonly maxRows: number };

const MAX_PLANS = 1000;

/**
 * Selects samplers and batch sizes. Plans are cached, since a plan takes as long as some batches, and made in turns with other work
 * on the event loop.
 */
export class SamplerSelector {
  private readonly plans = new LRUCache<string, Promise<Plan>>({ max: MAX_PLANS });
  private readonly forecasts = new LRUCache<string, Promise<SrdsForecast>>({ max: MAX_PLANS });

  /**
   * Selects the sampler for `auto`.
   * @param busy whether the devices take no more evaluations at a time than the serial sampler makes
   * @param fewSteps what shows that the model was distilled to be sampled in a few steps
   * @param machineOf measures the devices if necessary; returns the reason for the serial sampler if they are not known well enough to choose
   */
  async select(
    settings: Settings,
    { busy, fewSteps }: { readonly busy: boolean; readonly fewSteps: string | undefined },
    machineOf: () => Promise<Machine | string>,
  ): Promise<SelectedSampler> {
    const reason = reasonForSerial(settings, busy, fewSteps);
    if (reason !== undefined) return serialFor(reason, settings);
    const machine = await machineOf();
    if (typeof machine === 'string') return serialFor(machine, settings);
    const request = planRequest(settings);
    if (cannotGain(request, machine)) return { ...serialFor(NO_GAIN, settings), limits: serialLimits(machine) };
    const plan = await this.plan(request, machine);
    return selected({ ...plan, basis: basisOf(machine.convergence) }, settings, machine);
  }

  private plan(request: PlanRequest, machine: Machine): Promise<Plan> {
    const [same, alike] = [SAME, ALIKE].map((ratio) => JSON.stringify([request, planKey(machine, request, ratio)]));
    const plan = cached(this.plans, same, () => this.planLike(this.plans.get(alike), request, machine));
    this.plans.set(alike, plan);
    return plan;
  }

  /** @param before the plan for a machine that is alike; undefined if there is none */
  private async planLike(before: Promise<Plan> | undefined, request: PlanRequest, machine: Machine): Promise<Plan> {
    const known = await before;
    const renewed = known && (await finishInTurns(renewedPlan(known, request, machine)));
    return renewed ?? finishInTurns(planning(request, machine));
  }

  /** Batch sizes, and the forecast if that is made for them, for settings with a given sampler. */
  async given(settings: Settings, machine: Machine): Promise<SelectedSampler> {
    const { sampler, grid, pipelined, partition, method } = settings;
    if (sampler === 'serial') return { settings, limits: serialLimits(machine) };
    const limits = limitsOn(machine);
    if (sampler !== 'srds' || !pipelined || isMultistep(method)) return { settings, limits };
    const { evaluationsPerStep } = method;
    const stopping = stoppingRuleOf(settings);
    const trajectory = { steps: grid.length, partition, ...stopping };
    const key = JSON.stringify([evaluationsPerStep, trajectory, planKey(machine, trajectory, ALIKE)]);
    const forecast = await cached(this.forecasts, key, () =>
      finishInTurns(srdsForecast(partition, evaluationsPerStep, machine, stopping)),
    );
    return { settings, limits: { ...limits, maxClientRows: forecast.maxRows }, expected: forecast };
  }
}

function planRequest(settings: Settings): PlanRequest {
  const { method, grid, partition, partitionGiven, srdsGiven, window, solver, eta } = settings;
  return {
    steps: grid.length,
    evaluationsPerStep: isMultistep(method) ? 1 : method.evaluationsPerStep,
    partition: partitionGiven ? partition : undefined,
    // The comparison of picard with SRDS was on trajectories without noise.
    windows: srdsGiven || addsNoise(solver, eta) ? [] : window === undefined ? undefined : [window],
    ...stoppingRuleOf(settings),
  };
}

/** How a run stops, as forecasts take it. */
export function stoppingRuleOf({ tolerance, maxIterations, stopping, pipelined, previews }: Settings): StoppingRule {
  const looksAhead = stopping === 'look-ahead';
  return { tolerance, maxIterations, looksAhead, pipelined, decodesEach: previews || !looksAhead };
}

/** Why `auto` is serial on a busy engine. */
export const NO_ROOM = 'the devices have no room for more than the serial sampler needs';
const NO_GAIN = 'a large batch costs here as much as its rows one by one';

/** Why `auto` is the serial sampler without comparing; undefined if it has to compare. */
function reasonForSerial(
  { method, tolerance, grid }: Settings,
  busy: boolean,
  fewSteps: string | undefined,
): string | undefined {
  if (isMultistep(method)) return `${method.name} is for the serial sampler only`;
  if (tolerance === 0) {
    return 'with tolerance 0 the result is the serial sample, which the serial sampler finds with the least work';
  }
  if (grid.length === 1) return 'there is one step only';
  if (fewSteps !== undefined) return `the model is made for a few steps (${fewSteps}), which leave nothing to gain`;
  return busy ? NO_ROOM : undefined;
}

function serialFor(reason: string, settings: Settings): SelectedSampler {
  return { settings: { ...settings, sampler: 'serial' }, choice: { reason } };
}

/** Calls that wait for the same value share its computation. */
function cached<Value>(
  cache: LRUCache<string, Promise<Value>>,
  key: string,
  compute: () => Promise<Value>,
): Promise<Value> {
  const value = cache.get(key) ?? compute();
  cache.set(key, value);
  return value;
}

/** Sizes of batches within so many rows, as far as devices need watching. */
export function withinMemory(limits: BatchLimits | undefined, maxRows: number): BatchLimits | undefined {
  if (!Number.isFinite(maxRows)) return limits;
  return { ...limits, maxRows: Math.min(limits?.maxRows ?? Infinity, maxRows), minRows: limits?.minRows ?? 0 };
}

function limitsOn({ maxRows, devices, rowsPerEvaluation }: Machine): BatchLimits {
  return { maxRows, minRows: rowsNotWorthSplitting(devices[0], rowsPerEvaluation) };
}

/** Of the serial sampler. */
function serialLimits(machine: Machine): BatchLimits {
  const limits = limitsOn(machine);
  return machine.splitsRows ? { ...limits, minRows: 1, splitsRows: true } : limits;
}

function selected({ chosen, reason, basis }: Plan, settings: Settings, machine: Machine): SelectedSampler {
  const choice = { reason, basis, chosen };
  const limits = limitsOn(machine);
  switch (chosen.sampler) {
    case 'serial':
      return { settings: { ...settings, sampler: 'serial' }, choice, limits: serialLimits(machine) };
    case 'srds': {
      const { partition, maxRows: maxClientRows } = chosen;
      return {
        settings: { ...settings, sampler: 'srds', partition },
        choice,
        limits: { ...limits, maxClientRows },
        expected: chosen,
      };
    }
    case 'picard':
      return { settings: { ...settings, sampler: 'picard', window: chosen.window }, choice, limits, expected: chosen };
  }
}

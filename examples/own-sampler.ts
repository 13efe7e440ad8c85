// A sampler of your own: Jacobi iteration, a step from every state at once. It runs the conformance suite for samplers.
import { samplerConformance } from 'srds/conformance';
import type { Iterate, Sampler, SerialOptions, Task } from 'srds/sampler';
import { oneEvaluationSolver, type Prediction, type Solver } from 'srds/solver';

/** x[p+1][i+1] = S_i(x[p][i]), with S_i one step of the solver. After N passes the sample is the serial one. */
class Jacobi implements Sampler {
  /** A pass starts only when the caller has seen the iterate of the pass before. */
  readonly hasBarriers = true;
  sample: Float32Array;
  private readonly solver: Solver;
  private states: Float32Array[];
  private predictions = new Map<number, Prediction>();
  private tasks: Task[] = [];
  private iterates: Iterate[] = [];
  private pass = 0;

  constructor(private readonly options: SerialOptions) {
    this.sample = options.x;
    this.solver = oneEvaluationSolver(options.solver);
    this.states = Array.from({ length: options.steps.length + 1 }, () => options.x);
    this.begin();
  }

  ready(): readonly Task[] {
    return this.tasks.splice(0);
  }

  finish({ id }: Task, prediction: Prediction): void {
    this.predictions.set(id.block, prediction);
    if (this.predictions.size === this.options.steps.length - this.pass) this.end();
  }

  completed(): readonly Iterate[] {
    return this.iterates.splice(0);
  }

  /** After p passes the first p states are exact, so a pass starts at state p. */
  private begin(): void {
    this.predictions = new Map();
    this.options.steps.forEach(({ from: level }, block) => {
      if (block < this.pass) return;
      const id = { iteration: this.pass, block, step: 0, stage: 0 };
      this.tasks.push({ id, x: this.states[block], level, depth: this.pass, speculative: block > this.pass });
    });
  }

  private end(): void {
    const { steps } = this.options;
    const moved = [...this.states];
    for (const [i, prediction] of this.predictions) {
      const end = this.solver.step(this.states[i], prediction, steps[i]);
      if (end instanceof Float32Array) moved[i + 1] = end;
    }
    const iteration = this.pass++;
    const depth = this.pass;
    this.states = moved;
    this.sample = moved[steps.length];
    const final = depth === steps.length ? 'exact' : undefined;
    this.iterates.push({ iteration, states: moved, x: this.sample, depth, reachesEnd: true, final });
    if (!final) this.begin();
  }
}

for (const { name, run } of samplerConformance('jacobi', (options) => new Jacobi(options), { anySolver: false })) {
  await run();
  console.log(`passed: ${name}`);
}

import assert from 'node:assert/strict';
import { ChildProcess } from 'node:child_process';
import { test } from 'node:test';
import { DeviceEngine, type Evaluation } from 'srds/engine';
import { float32 } from 'srds/tensor';
import { nextTurn } from '../../support/async.js';
import { fixture } from '../../support/fixtures.js';
import { until } from '../../support/server.js';

const UNET = { unet: { path: fixture('models/sd15/unet/model.onnx'), perRow: 'timestep' } };

/** An evaluation with a text of zeros. */
function evaluationOn(engine: DeviceEngine): Evaluation {
  const conditioning = [engine.register({ encoder_hidden_states: float32(new Float32Array(77 * 32), [77, 32]) })];
  const sample = float32(new Float32Array(4 * 16 * 16), [4, 16, 16]);
  return {
    graph: 'unet',
    output: 'out_sample',
    inputs: { sample, timestep: float32(Float32Array.of(1), []) },
    conditioning,
  };
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test('a process that stops during a batch, or idle, is ended and replaced; the batch runs again, in one piece', async () => {
  const stopped = async (whileRunning: boolean) => {
    const warnings: string[] = [];
    const engine = await DeviceEngine.open(UNET, { threads: 1, onWarning: (message) => warnings.push(message) });
    try {
      const batch = Array<Evaluation>(8).fill(evaluationOn(engine));
      const expected = await engine.run(batch);
      const [pid] = engine.pids;
      assert.equal(engine.available, true);
      const running = whileRunning ? engine.run(batch) : undefined;
      await nextTurn();
      process.kill(pid, 'SIGSTOP');
      await until(() => !engine.available);
      const { outputs, rows } = await (running ?? engine.run(batch));
      assert.deepEqual(outputs, expected.outputs);
      assert.equal(rows, 8);
      assert.deepEqual([isAlive(pid), engine.available], [false, true]);
      assert.match(warnings.join(), /no sign of life for [36]0 s.*another takes its place$/);
    } finally {
      await engine.close();
    }
  };
  await Promise.all([stopped(true), stopped(false)]);
});

test('a process that stops while it loads is ended; loading fails, and works the next time', async () => {
  const engine = await DeviceEngine.open(UNET, { threads: 1 });
  try {
    await engine.unload(['unet']);
    const loading = engine.load(['unet']);
    process.kill(engine.pids[0], 'SIGSTOP');
    await assert.rejects(loading, { code: 'ENGINE_FAILED', message: /no sign of life/ });
    await engine.load(['unet']);
    assert.equal((await engine.run([evaluationOn(engine)])).outputs.length, 1);
  } finally {
    await engine.close();
  }
});

test('a process that outlives SIGKILL is left: its batch runs in another, closing says so, and the program ends', async (t) => {
  const warnings: string[] = [];
  const engine = await DeviceEngine.open(UNET, { threads: 1, onWarning: (message) => warnings.push(message) });
  const left: number[] = [];
  /** Stops the process of the engine. */
  const stop = () => {
    const [pid] = engine.pids;
    left.push(pid);
    process.kill(pid, 'SIGSTOP');
    return pid;
  };
  // A process that a driver keeps takes no signal.
  const { mock } = t.mock.method(ChildProcess.prototype, 'kill', () => true);
  try {
    const first = stop();
    const batch = [evaluationOn(engine)];
    assert.equal((await engine.run(batch)).rows, 1);
    assert.match(
      warnings.join(),
      new RegExp(`process ${first} gave no sign of life for [36]0 s and outlives SIGKILL.*another`),
    );
    const second = stop();
    await engine.close();
    assert.equal(warnings.at(-1), `the cpu process ${second} outlives SIGKILL; it is left to the system`);
    // This program can end before them.
    assert.ok(!process.getActiveResourcesInfo().includes('ProcessWrap'));
  } finally {
    mock.restore();
    for (const pid of left) process.kill(pid, 'SIGKILL');
    await engine.close();
  }
});

test('closing ends a stopped, idle process', async () => {
  const engine = await DeviceEngine.open(UNET, { threads: 1 });
  const [pid] = engine.pids;
  process.kill(pid, 'SIGSTOP');
  await engine.close();
  assert.equal(isAlive(pid), false);
});

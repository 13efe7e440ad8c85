import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promptOf, type TailRun, type TailStatistics } from 'srds/benchmark';
import { z } from 'zod';
import { srdsCli, start } from '../support/cli.js';
import { fixture } from '../support/fixtures.js';
import { failureIn, outputOf } from '../support/program.js';

const cwd = mkdtempSync(join(tmpdir(), 'srds-'));
const env = { XDG_CACHE_HOME: join(cwd, 'cache') };
after(() => rmSync(cwd, { recursive: true }));

const TINY = ['--model', fixture('models/sd21v')];
/** Runs a command in a process of its own. */
const srds = (...args: string[]) => srdsCli(args, { cwd, env });
/** What a command prints that succeeds in this process. */
const printed = (...args: string[]) => outputOf({ cwd, env }, ...args);

/** One line of an error, and its exit code. */
async function refused(exit: number, pattern: RegExp, ...args: string[]): Promise<void> {
  const { message, code, stdout, stderr } = await failureIn({ cwd, env }, ...args);
  assert.deepEqual([code, stdout, stderr], [exit, '', ''], message);
  assert.match(message, /^expected [^\n]+, found [^\n]+; [^\n]+$/);
  assert.match(message, pattern);
}

const doctor = z.object({
  devices: z.array(
    z.object({ device: z.string(), works: z.boolean(), problem: z.string().nullable(), remedy: z.string().nullable() }),
  ),
});

let reported: ReturnType<typeof printed> | undefined;
/** The report of doctor, which probes each device in a process; run once. */
async function devicesOfDoctor() {
  const { stdout } = await (reported ??= printed('doctor', '--json'));
  return doctor.parse(JSON.parse(stdout)).devices;
}

test('doctor reports whether each kind of device works, and if not, why and what to do', async () => {
  const devices = await devicesOfDoctor();
  assert.deepEqual(
    ['cpu', 'cuda:0', 'webgpu:0'].filter((name) => !devices.some(({ device }) => device === name)),
    [],
  );
  assert.equal(devices[0].works, true);
  for (const { works, problem, remedy } of devices) assert.equal(works, problem === null && remedy === null);
  assert.match((await printed('doctor')).stdout, /^srds [^\n]+\ncpu [^\n]+: works\n/);
});

test('doctor fails if a device that was named does not work', async () => {
  const { code, stdout, stderr } = await srds('doctor', '--device', 'cpu,webgpu:3');
  assert.deepEqual(
    [code, stderr],
    [8, 'srds: expected devices that work, found webgpu:3 that does not; the report says what to do\n'],
  );
  assert.match(stdout, /\ncpu [^\n]+: works\nwebgpu:3: does not work\n {2}[^\n]+\n {2}-> [^\n]+\n$/);
  assert.equal((await srds('doctor', '--device', 'cpu')).code, 0);
  const without = await printed('doctor', '--device', 'cpu', '--model', 'none');
  assert.equal(without.stderr, 'srds: warning: --model does nothing without an endpoint in --device\n');
});

test('a device that does not work is one line with what to do; auto does without and says so', async () => {
  const devices = await devicesOfDoctor();
  const broken = devices.filter(({ works }) => !works);
  for (const { device } of broken) await refused(8, new RegExp(device), 'generate', 'a', '--device', device);
  const absent = await srds('generate', 'a', '--device', 'webgpu:3');
  assert.deepEqual([absent.code, absent.stdout], [8, '']);
  assert.match(absent.stderr, /^srds: expected webgpu:3 [^\n]+, found [^\n]+; [^\n]+\n$/);
  await refused(2, /devices such as cpu/, 'generate', 'a', '--device', 'gpu');
  if (broken.length < devices.length - 1) return;
  const args = ['generate', 'a', ...TINY, '--device', 'auto', '--steps', '1', '--out', 'a.png', '--json'];
  const { stdout, stderr } = await printed(...args);
  assert.equal((JSON.parse(stdout) as { device: string }).device, 'cpu');
  assert.match(stderr, /^srds: warning: running on the cpu, without cuda:0 \([^\n]+\) and webgpu:0 \([^\n]+\)\n$/);
});

test('plan forecasts a machine that a curve describes, as text and as JSON', async () => {
  const points = [2, 8, 32, 128].map((rows, k) => ({ rows, seconds: 0.006 + 0.002 * k }));
  writeFileSync(join(cwd, 'curve.json'), JSON.stringify({ padded: true, points }));
  const { stdout } = await printed('plan', '--curve', 'curve.json', '--devices', '4', '--steps', '25,100');
  assert.match(
    stdout,
    /^25 steps: srds with \d+ blocks, \d+ ms; [^\n]+ times faster than the serial sampler[^\n]+\nForecasts rest on the bundled model's figures, since[^\n]+\n\n\| {2}\| sampler \|/,
  );
  assert.match(stdout, /\n100 steps: /);
  const { stdout: json } = await printed('plan', '--curve', 'curve.json', '--steps', '100', '--json');
  const { plans } = JSON.parse(json) as {
    plans: { basis: string; candidates: { sampler: string; seconds: number }[] }[];
  };
  assert.ok(Math.abs(plans[0].candidates[0].seconds - 0.6) < 1e-9);
  assert.match(plans[0].basis, /^the bundled model's figures, since/);
  await refused(2, /latency curve at nothing\.json/, 'plan', '--curve', 'nothing.json');
  writeFileSync(join(cwd, 'bad.json'), '{"points": 3}');
  await refused(2, /bad\.json/, 'plan', '--curve', 'bad.json');
  await refused(2, /--devices with --curve/, 'plan', '--devices', '2');
  await refused(2, /number of devices/, 'plan', '--curve', 'curve.json', '--devices', '0');
  await refused(2, /--curve without --size/, 'plan', '--curve', 'curve.json', '--size', '64x64');
  await refused(2, /a size such as 512x512 for --size, found "big"/, 'plan', '--size', 'big');
  await refused(2, /--curve without --fresh/, 'plan', '--curve', 'curve.json', '--fresh');
  await refused(2, /--curve without --no-fused/, 'plan', '--curve', 'curve.json', '--no-fused');
  const single = { rows: 2, seconds: 1 };
  for (const odd of [[], [single, single], [{ rows: 2, seconds: 1e308 }], [{ rows: 1e9, seconds: 1 }]]) {
    writeFileSync(join(cwd, 'odd.json'), JSON.stringify({ points: odd }));
    await refused(2, /a latency curve in odd\.json, found points/, 'plan', '--curve', 'odd.json');
  }
  writeFileSync(join(cwd, 'one.json'), `\uFEFF${JSON.stringify({ points: [single] })}`);
  const reasons = await printed('plan', '--curve', 'one.json', '--steps', '1,25');
  assert.match(reasons.stdout, /^1 step: serial, 1000 ms; there is one step only\./);
  assert.match(
    reasons.stdout,
    /\n25 steps: serial, 25000 ms; srds with \d+ blocks, the next best, would gain nothing: a large batch costs/,
  );
  assert.match(reasons.stdout, /picard with 25 steps at a time \(not below 50 steps\)/);
});

test('auto learns from a serial run, measures in the next, keeps the curve, says why it chose, and generates what that sampler generates', async () => {
  const auto = ['--sampler', 'auto', '--tolerance', '0.5'];
  const args = ['generate', 'a red ball', ...TINY, '--steps', '60', ...auto, '--out', 'auto.png', '--json'];
  const choice = z.object({ reason: z.string(), basis: z.string().optional() });
  const report = z.object({ sampler: z.string(), choice });
  const run = async (...more: string[]) => report.parse(JSON.parse((await printed(...args, ...more)).stdout));
  const folder = join(env.XDG_CACHE_HOME, 'srds/curves');
  // Other work on the machine may disturb a run, which keeps nothing then.
  for (let tries = 0; !existsSync(folder); tries++) {
    assert.ok(tries < 20);
    const { sampler, choice } = await run();
    assert.equal(sampler, 'serial');
    assert.match(choice.reason, /not known yet/);
  }
  const curves = readdirSync(folder);
  assert.equal(curves.length, 1);
  // ONNX Runtime would keep an identifier there and report to its makers.
  assert.deepEqual(readdirSync(env.XDG_CACHE_HOME), ['srds']);
  const curve = join(folder, curves[0]);
  const first = z.object({ complete: z.literal(false), points: z.tuple([z.object({ rows: z.literal(2) })]) });
  first.parse(JSON.parse(readFileSync(curve, 'utf8')));
  // A complete curve stays as it is; one that is not is extended, in a tenth of the serial run's time.
  const complete = JSON.stringify({ points: [{ rows: 2, seconds: 0.01 }], complete: true });
  writeFileSync(curve, complete);
  assert.equal((await run()).sampler, 'serial');
  assert.equal(readFileSync(curve, 'utf8'), complete);
  writeFileSync(curve, complete.replace('true', 'false'));
  await run();
  const more = z.object({ points: z.array(z.object({ rows: z.number() })).min(2) });
  more.parse(JSON.parse(readFileSync(curve, 'utf8')));
  assert.equal((await run('--tolerance', '0')).sampler, 'serial');
  // A machine on which batches cost nothing more.
  const points = [2, 8, 64].map((rows) => ({ rows, seconds: 0.01, steady: true }));
  writeFileSync(curve, JSON.stringify({ points, hostSeconds: 0, complete: true }));
  const first100 = report.parse(JSON.parse((await printed(...args, '--steps', '100')).stdout));
  assert.notEqual(first100.sampler, 'serial');
  assert.match(first100.choice.basis ?? '', /^(the prior only: 3 times|records of this model: \d)/);
  for (let tries = 0; readdirSync(folder).length === 1; tries++) {
    assert.ok(tries < 20);
    await run('--guidance', '1');
  }
  for (const name of readdirSync(folder)) {
    const free = [1, 64].map((rows) => ({ rows, seconds: 0.01, steady: true }));
    if (name !== curves[0]) writeFileSync(join(folder, name), JSON.stringify({ points: free, complete: true }));
  }
  assert.notEqual((await run('--guidance', '1')).sampler, 'serial');
  // A broken curve is ignored, and measured again when needed.
  writeFileSync(curve, '{"points": []}');
  await printed(...args, '--sampler', 'srds');
  for (let tries = 0; !readFileSync(curve, 'utf8').includes('"rows"'); tries++) {
    assert.ok(tries < 20);
    await printed(...args);
  }
});

test('a size that memory does not suffice for is one line with one that fits, and exit code 2', async () => {
  await refused(
    2,
    /^expected about [\d.]+ [GT]B of free memory for 4096x4096 pixels on the CPU, found [^;]+; choose a size of at most \d+x\d+/,
    'generate',
    'a',
    '--size',
    '4096x4096',
  );
});

test('a curve is measured again on request, also where no bucket holds an evaluation', async () => {
  const { stdout } = await printed('plan', ...TINY, '--fresh', '--buckets', '1', '--steps', '9', '--json');
  const { machine, plans } = JSON.parse(stdout) as {
    machine: { devices: { points: { rows: number; seconds: number }[] }[] };
    plans: { candidates: { seconds: number }[] }[];
  };
  // An evaluation of two rows runs in two batches.
  assert.deepEqual(
    machine.devices[0].points.map(({ rows }) => rows),
    [1],
  );
  assert.ok(plans[0].candidates[0].seconds > 2 * 9 * 0.9 * machine.devices[0].points[0].seconds);
});

test('a trace is written and charted, as SVG and as a page', async () => {
  await printed(
    'generate',
    'a',
    ...TINY,
    '--steps',
    '6',
    '--sampler',
    'srds',
    '--workers',
    '2',
    '--compare',
    '--trace',
    't.json',
    '--out',
    't.png',
  );
  const trace = JSON.parse(readFileSync(join(cwd, 't.json'), 'utf8')) as {
    batches: { begin: number; end: number; graph: string; device: string; evaluations: number[][] }[];
    iterations: unknown[];
  };
  assert.ok(trace.iterations.length >= 2);
  const evaluations = trace.batches.filter(({ graph }) => graph === 'unet').flatMap((batch) => batch.evaluations);
  assert.equal(new Set(evaluations.map((place) => place.join())).size, evaluations.length);
  assert.ok(trace.batches.every(({ begin, end }) => end > begin));
  // Two processes are two buckets, in neither of which batches overlap.
  assert.deepEqual([...new Set(trace.batches.map(({ device }) => device))].sort(), ['cpu 1', 'cpu 2']);
  for (const device of ['cpu 1', 'cpu 2']) {
    const own = trace.batches.filter((batch) => batch.device === device).sort((a, b) => a.begin - b.begin);
    assert.ok(own.every(({ begin }, k) => k === 0 || begin >= own[k - 1].end));
  }
  for (const [out, start] of [
    ['t.svg', '<svg'],
    ['t.html', '<!doctype html>'],
  ]) {
    await printed('trace', 't.json', '--out', out);
    const text = readFileSync(join(cwd, out), 'utf8');
    assert.ok(text.startsWith(start));
    assert.doesNotMatch(text, /https?:\/\/(?!www\.w3\.org\/)/);
  }
  await refused(2, /\.svg or \.html/, 'trace', 't.json', '--out', 't.txt');
  await refused(2, /a trace in t\.png/, 'trace', 't.png');
  await refused(2, /a trace at none\.json/, 'trace', 'none.json');
});

test('bench writes its results as JSON, Markdown and a page, and says what differs', async () => {
  const args = [
    'bench',
    ...TINY,
    '--steps',
    '3',
    '--prompts',
    '1',
    '--samplers',
    'srds,picard,srds-vanilla',
    '--out',
    'bench',
  ];
  const { stdout } = await printed(...args);
  assert.deepEqual(readdirSync(join(cwd, 'bench')).sort(), ['report.html', 'results.json', 'table.md']);
  assert.equal(readFileSync(join(cwd, 'bench/table.md'), 'utf8'), stdout);
  const { basis, measurements } = JSON.parse(readFileSync(join(cwd, 'bench/results.json'), 'utf8')) as {
    basis: string;
    measurements: { caseName: string; seconds: number; critical: number; error: { mean: number } }[];
  };
  assert.deepEqual(
    measurements.map(({ caseName }) => caseName),
    ['serial', 'srds', 'picard', 'srds-vanilla'],
  );
  assert.ok(measurements.every(({ seconds, critical }) => seconds > 0 && critical >= 1));
  assert.equal(measurements[0].error.mean, 0);
  assert.ok(stdout.includes(`\nForecasts rest on ${basis}.\n`));
  await refused(2, /names of serial/, 'bench', '--samplers', 'other');
  await refused(2, /number of prompts/, 'bench', '--prompts', '0');
  const alone = ['--steps', '2', '--prompts', '1', '--samplers', 'serial', '--floor', '0', '--concurrency', '2'];
  const { stderr } = await printed('bench', ...TINY, ...alone);
  assert.equal(stderr, 'srds: warning: --concurrency does nothing without --tolerances\n');
});

test('bench with tolerances stops each sampler as a run with that rule and tolerance does', async () => {
  const args = ['--steps', '6', '--samplers', 'srds,picard', '--prompts', '2', '--floor', '1', '--tolerances', '2,0.5'];
  const { stdout } = await printed('bench', ...TINY, ...args, '--out', 'tails');
  assert.equal(readFileSync(join(cwd, 'tails/table.md'), 'utf8'), stdout);
  const { results } = JSON.parse(readFileSync(join(cwd, 'tails/results.json'), 'utf8')) as {
    results: { runs: (TailRun & { readonly statistics: TailStatistics })[] }[];
  };
  const [{ runs }] = results;
  assert.equal(runs.length, 2 * 2 * 2);
  for (const { sampler, stopping, tolerance, samples, statistics } of runs) {
    assert.equal(statistics.of, 2);
    assert.ok(stdout.includes(`| ${sampler} | ${stopping}, ${tolerance} |`));
    for (const { seed, iteration, critical } of samples) {
      const options = ['--sampler', sampler, '--stopping', stopping, '--tolerance', String(tolerance)];
      const run = await printed(
        'generate',
        promptOf(seed),
        ...TINY,
        '--steps',
        '6',
        '--seed',
        String(seed),
        ...options,
        '--json',
      );
      const { images } = JSON.parse(run.stdout) as {
        images: { iterations: number; evaluations: { critical: number } }[];
      };
      assert.deepEqual([images[0].iterations, images[0].evaluations.critical], [iteration, critical]);
    }
  }
  for (const samplers of ['serial', 'srds,paradigms'])
    await refused(2, /stop by the change of the image/, 'bench', '--tolerances', '0.1', '--samplers', samplers);
});

test('bench with tolerances that is interrupted keeps what it has measured, and says so', async () => {
  const args = ['--steps', '12', '--samplers', 'srds', '--prompts', '2000', '--floor', '0', '--tolerances', '0.5'];
  const { child, ended } = start(['bench', ...TINY, ...args, '--out', 'part'], { cwd, env });
  // A line for each hundred prompts.
  child.stderr!.once('data', () => child.kill('SIGINT'));
  const { code, stdout } = await ended;
  assert.equal(code, 130);
  const { machine, interrupted, results } = JSON.parse(readFileSync(join(cwd, 'part/results.json'), 'utf8')) as {
    machine: string;
    interrupted: string;
    results: { runs: TailRun[] }[];
  };
  const finished = Number(/^Interrupted after (\d+) of 2000 prompts with 12 steps\.$/.exec(interrupted)?.[1]);
  assert.deepEqual(
    results.map(({ runs }) => runs.map(({ samples }) => samples.length)),
    [[finished, finished]],
  );
  assert.ok(stdout.startsWith(`${machine}\n${interrupted}\n`));
  assert.equal(readFileSync(join(cwd, 'part/table.md'), 'utf8'), stdout);
});

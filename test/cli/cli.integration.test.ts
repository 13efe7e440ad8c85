import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { z } from 'zod';
import { srdsCli, start, type Started } from '../support/cli.js';
import { exitCodeOf, explain, failureIn, outputOf } from '../support/program.js';
import { fixture, reference, relativeError, ROOT } from '../support/fixtures.js';

const TINY = fixture('models/sd21v');
let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'srds-'));
});
afterEach(() => rmSync(cwd, { recursive: true }));

const generate = (...args: string[]) => srdsCli(['generate', ...args], { cwd });
const tinyArgs = (args: string[], prompt = 'a red ball') => [
  ...['generate', prompt, '--model', TINY, '--guidance', '7.5'],
  ...args,
];
const tiny = (...args: string[]) => srdsCli(tinyArgs(args), { cwd });
/** Generates in this process. */
const tinyHere = (...args: string[]) => outputOf({ cwd }, ...tinyArgs(args));

/** The report as the documentation has it, and nothing beside it. */
const report = z.strictObject({
  version: z.string(),
  model: z.string(),
  device: z.literal('cpu'),
  prompt: z.string(),
  negativePrompt: z.string(),
  seed: z.union([z.int(), z.string()]),
  steps: z.int(),
  solver: z.literal('ddim'),
  guidance: z.number(),
  sampler: z.enum(['serial', 'srds']),
  choice: z
    .strictObject({
      reason: z.string(),
      predictedSeconds: z.number().optional(),
      predictedSpeedUp: z.number().optional(),
    })
    .optional(),
  correction: z.enum(['secant', 'parareal']).nullable(),
  pipelined: z.boolean().nullable(),
  blocks: z.int().nullable(),
  tolerance: z.number().nullable(),
  stopping: z.enum(['look-ahead', 'change']).nullable(),
  images: z.array(
    z.strictObject({
      file: z.string().nullable(),
      seed: z.union([z.int(), z.string()]),
      status: z.enum(['converged', 'exact', 'maxIterations', 'aborted']),
      iterations: z.int(),
      residuals: z.array(z.number()),
      evaluations: z.strictObject({ critical: z.int(), total: z.int(), serial: z.int() }),
      error: z.strictObject({ mean: z.number(), max: z.number() }).optional(),
    }),
  ),
  seconds: z.strictObject({
    load: z.number(),
    encode: z.number(),
    plan: z.number(),
    sample: z.number(),
    decode: z.number(),
    total: z.number(),
  }),
  serialSeconds: z.number().nullable(),
});

/** The latents of a file that --latents wrote. */
function npy(path: string): { shape: string; data: Float32Array } {
  const file = readFileSync(path);
  const end = 10 + file.readUInt16LE(8);
  const shape = /'shape': \(([^)]*)\)/.exec(file.toString('latin1', 10, end))?.[1] ?? '';
  return { shape, data: new Float32Array(new Uint8Array(file.subarray(end)).buffer) };
}

test('a run writes a PNG named after the prompt, with its parameters, and says how it went', async () => {
  const { code, stdout, stderr } = await generate('A red ball, on the beach!', '--steps', '4', '--sampler', 'srds');
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(
    stdout,
    /^a-red-ball-on-the-beach-seed0\.png: .*\d+ sequential evaluations instead of 4 \(\d+ in all\)\n[\d.]+ s, [\d.]+ s of them for sampling: [\d.]+ times as (fast|long) as the serial sampler, .*\n$/,
  );
  const [file] = readdirSync(cwd);
  assert.equal(file, 'a-red-ball-on-the-beach-seed0.png');
  const { width, height, comments } = await sharp(join(cwd, file)).metadata();
  assert.deepEqual([width, height], [128, 128]);
  const text = comments?.find(({ keyword }) => keyword === 'parameters')?.text ?? '';
  assert.match(
    text,
    /^A red ball, on the beach!\nSteps: 4, Sampler: DDIM, CFG scale: 5, Seed: 0, Size: 128x128, Model: scenes-128,/,
  );
  assert.match(text, /SRDS correction: secant, SRDS pipelined: true, SRDS blocks: 1 3, SRDS tolerance: 0\.08,/);
});

test('the seed -1 is a random one, which the line of the image says', async () => {
  const run = async (file: string, seed: string) =>
    (await tinyHere('--sampler', 'serial', '--steps', '2', '--out', file, '--seed', seed)).stdout;
  const seedOf = (line: string) => /^a\.png: serial, .*, seed (\d+)\n/.exec(line)?.[1] ?? '';
  const seeds = [seedOf(await run('a.png', '-1')), seedOf(await run('a.png', '-1'))];
  assert.notEqual(seeds[0], seeds[1]);
  await run('b.png', seeds[1]);
  assert.deepEqual(readFileSync(join(cwd, 'a.png')), readFileSync(join(cwd, 'b.png')));
});

test('--json prints one object of the documented form, and nothing else', async () => {
  const { stdout, stderr } = await tinyHere(
    '--json',
    '--n',
    '2',
    '--seed',
    '5',
    '--compare',
    '--negative-prompt',
    'blue',
    '--sampler',
    'srds',
  );
  assert.equal(stderr, '');
  const { images, ...rest } = report.parse(JSON.parse(stdout));
  assert.deepEqual(
    images.map(({ file, seed }) => [file, seed]),
    [
      ['a-red-ball-seed5.png', 5],
      ['a-red-ball-seed6.png', 6],
    ],
  );
  assert.deepEqual(
    [rest.model, rest.steps, rest.blocks, rest.tolerance, rest.negativePrompt],
    ['sd21v', 25, 11, 0.08, 'blue'],
  );
  for (const { error, residuals, iterations, evaluations } of images) {
    assert.ok(error && error.mean < 5);
    assert.equal(residuals.length, iterations);
    assert.equal(evaluations.serial, 25);
  }
});

test("--tolerance 0 writes latents that are === those of --sampler serial, which are diffusers'", async () => {
  await tinyHere('--sampler', 'serial', '--latents', 'serial.npy', '--quiet');
  const serial = npy(join(cwd, 'serial.npy'));
  assert.equal(serial.shape, '1, 4, 16, 16');
  const expected = reference('refs/sd21v/ddim_leading_N25_p0_seed0').floats('latents_steps').slice(-1024);
  assert.ok(relativeError(serial.data, expected) < 1e-4);
  for (const form of [
    ['--correction', 'parareal', '--no-pipelined', '--blocks', '3,1,20,1'],
    ['--threads', '1', '--workers', '2'],
  ]) {
    const { stdout } = await tinyHere('--tolerance', '0', '--latents', 'srds.npy', '--json', ...form);
    assert.equal(report.parse(JSON.parse(stdout)).images[0].status, 'exact');
    assert.deepEqual(npy(join(cwd, 'srds.npy')), serial);
  }
});

test('--out takes a pattern in a folder that is not there; --previews the image of every iteration', async () => {
  const args = ['--tolerance', '0', '--steps', '9', '--n', '2', '--out', 'deep/er/x{seed}y.png', '--previews', 'p'];
  const { stdout } = await tinyHere('--json', ...args);
  const { images } = report.parse(JSON.parse(stdout));
  const files = ['deep/er/x0y.png', 'deep/er/x1y.png'];
  assert.deepEqual(
    images.map(({ file }) => file),
    files,
  );
  for (const file of files) assert.ok(existsSync(join(cwd, file)), file);
  const names = images.flatMap(({ iterations }, seed) =>
    Array.from({ length: iterations + 1 }, (_, k) => `seed${seed}-iteration0${k}.png`),
  );
  assert.deepEqual(readdirSync(join(cwd, 'p')).sort(), names);
});

test('--quiet prints nothing; an empty prompt works; --size gives other sizes; seeds may be huge', async () => {
  const args = ['--model', TINY, '--steps', '3', '--size', '96x64', '--seed', '9223372036854775807', '--n', '2'];
  const { stdout, stderr } = await outputOf({ cwd }, 'generate', '', ...args, '--quiet');
  assert.deepEqual([stdout, stderr], ['', '']);
  const files = ['image-seed9223372036854775807.png', 'image-seed9223372036854775808.png'];
  assert.deepEqual(readdirSync(cwd).sort(), files);
  const { width, height } = await sharp(join(cwd, files[0])).metadata();
  assert.deepEqual([width, height], [96, 64]);
});

test('a prompt that is too long is cut with a warning that names what was cut', async () => {
  const { stderr } = await outputOf({ cwd }, ...tinyArgs(['--steps', '1'], `${'ball '.repeat(75)}on the beach`));
  assert.equal(stderr, 'srds: warning: the prompt is longer than the 77 tokens of CLIP; cut: "on the beach"\n');
});

test("npm start's demo shows the iterations, where the images are and what to do next", async () => {
  const { code, stdout } = await srdsCli(['demo', 'a red ball', '--steps', '4', '--compare'], { cwd });
  assert.equal(code, 0);
  assert.match(
    stdout,
    /\| iteration \| sequential evaluations \| predicted change in grey levels \|\n\|[- |]+\n\| coarse \| \d/,
  );
  assert.match(stdout, /sequential evaluations instead of 4/);
  assert.match(stdout, /grey levels from the serial image on average/);
  assert.match(
    stdout,
    /Image: {6}out\/a-red-ball-seed11\.png\nIterations: out\/a-red-ball-seed11-iterations\.png\n\nNext: /,
  );
  assert.deepEqual(readdirSync(join(cwd, 'out')).sort(), ['a-red-ball-seed11-iterations.png', 'a-red-ball-seed11.png']);
});

test('bad input is one line that says what was expected, with an exit code of its own, and leaves nothing', async () => {
  writeFileSync(join(cwd, 'file'), '');
  const before = readdirSync(cwd);
  const cases: [string[], number, RegExp][] = [
    [['a', '--nonsense'], 2, /unknown option '--nonsense'/],
    [[], 2, /missing required argument 'prompt'/],
    [['a', 'b'], 2, /too many arguments/],
    [['a', '--steps'], 2, /argument missing/],
    ...['0', '1.5', '1001', ''].map((n): [string[], number, RegExp] => [['a', '--steps', n], 2, /steps/]),
    [['a', '--blocks', '26'], 2, /blocks/],
    [['a', '--blocks', '0'], 2, /blocks/],
    [['a', '--blocks', '1,2'], 2, /add up to the 25 steps/],
    ...['130x128', '8x8', '99999x128', 'axb'].map((n): [string[], number, RegExp] => [
      ['a', '--size', n],
      2,
      /expected .*found/,
    ]),
    [['a', '--sampler', 'euler'], 2, /Allowed choices are auto, serial, srds/],
    [['a', '--correction', 'none'], 2, /Allowed choices are secant, parareal/],
    [['a', '--tolerance', '-1'], 2, /tolerance/],
    [['a', '--tolerance', 'NaN'], 2, /tolerance/],
    [['a', '--guidance', 'x'], 2, /guidance/],
    [['a', '--max-iterations', '0'], 2, /iterations/],
    [['a', '--seed', '1.5'], 2, /seed/],
    [['a', '--seed', '18446744073709551616'], 2, /seed/],
    [['a', '--n', '0'], 2, /--n\b/],
    [['a', '--n', '1000000000'], 2, /--n\b/],
    [['a', '--threads', '0'], 2, /threads/],
    [['a', '--workers', '0'], 2, /workers/],
    [['a', '--out', '-'], 2, /\.png/],
    [['a', '--out', `${'n'.repeat(300)}.png`], 5, /ENAMETOOLONG/],
    [['a', '--out', 'a.jpg'], 2, /\.png/],
    [['a', '--model', 'nowhere'], 3, /nothing at nowhere/],
    [['a', '--model', '.'], 3, /no model_index\.json/],
    [['a', '--model', 'file'], 3, /a file at file/],
    [['a', '--out', 'file/a.png'], 5, /file\/a\.png/],
    [['a', '--latents', 'file/a.npy'], 5, /file\/a\.npy/],
    [['a', '--model', TINY, '--steps', '1', '--out', '/proc/nowhere/a.png'], 5, /nowhere/],
    [['a', '--previews', 'file'], 5, /file/],
    [['a', '--previews', ''], 5, /empty name/],
    [['a', '--latents', ''], 5, /empty name/],
    [['a', '--previews', 'p', '--sampler', 'serial'], 2, /serial/],
  ];
  for (const [args, exit, message] of cases) {
    const failed = await failureIn({ cwd }, 'generate', ...args);
    assert.deepEqual([failed.code, failed.stdout], [exit, ''], `${args.join(' ')}: ${failed.message}`);
    assert.match(failed.message, /^[^\n]+$/, args.join(' '));
    assert.match(failed.message, message);
    assert.deepEqual(readdirSync(cwd), before, args.join(' '));
  }
  const nonsense = await generate('a', '--nonsense');
  assert.deepEqual([nonsense.code, nonsense.stdout], [2, '']);
  assert.match(nonsense.stderr, /^srds: unknown option '--nonsense'; see srds generate --help\n$/);
  const none = await srdsCli([], { cwd });
  assert.deepEqual([none.code, none.stderr], [2, 'srds: expected a command; see srds --help\n']);
  assert.equal((await failureIn({ cwd }, 'draw')).code, 2);
  const topic = await srdsCli(['help', 'draw'], { cwd });
  assert.deepEqual([topic.code, topic.stderr], [2, "srds: unknown command 'draw'; see srds --help\n"]);
});

test('an output that cannot take the data is an error and leaves no part of it', async () => {
  const { code, stderr } = await tiny('--steps', '1', '--out', '/dev/full');
  assert.equal(code, 5);
  assert.match(stderr, /^srds: expected to write \/dev\/full, found ENOSPC[^\n]+\n$/);
  // The kernel lists /proc as writable, and makes nothing there. The model is missing too: outputs are checked first.
  if (existsSync('/proc/self')) {
    for (const out of ['/proc/images/a.png', '/proc/self/a.png']) {
      const { code, message } = await failureIn({ cwd }, 'generate', 'a', '--model', 'none', '--out', out);
      assert.equal(code, 5, message);
      assert.match(message, /^expected to write [^\n]+, found ENOENT[^\n]+; choose another path/);
    }
  }
  await tinyHere('--steps', '1', '--out', '/dev/null');
  const args = ['--steps', '1', '--latents', '/dev/full', '--out', 'new/a.png'];
  assert.equal((await failureIn({ cwd }, ...tinyArgs(args))).code, 5);
  assert.deepEqual(readdirSync(cwd), []);
});

test('limits on descriptors and on the address space are errors of one line', async () => {
  const limited = async (limit: string) => {
    const command = `ulimit ${limit}; exec "$0" bin/srds.js generate a --steps 1 --out "$1"`;
    const args = ['-c', command, process.execPath, join(cwd, 'limited.png')];
    const ended: unknown = await promisify(execFile)('bash', args, { cwd: ROOT }).catch((error: unknown) => error);
    return z.object({ code: z.int(), stderr: z.string() }).parse(ended);
  };
  for (const descriptors of [24, 32, 40]) {
    const { code, stderr } = await limited(`-n ${descriptors}`);
    assert.match(stderr, /^srds: expected [^\n]*EMFILE[^\n]*ulimit[^\n]*\n$/);
    assert.equal(code, 71);
  }
  // As a server's HTTP parser has it where no more memory can be reserved.
  for (const why of ['WebAssembly.instantiate(): Out of memory: no', 'Array buffer allocation failed']) {
    assert.match(explain(new RangeError(why)), /^expected [^\n]*memory[^\n]*ulimit/);
    assert.equal(exitCodeOf(new RangeError(why)), 71);
  }
  const small = await limited('-v 1000000');
  assert.deepEqual(small, {
    code: 71,
    stderr: 'srds: expected an address space of 1.2 GB, found 1.0 GB; raise the limits of this shell (ulimit)\n',
  });
  const { code, stderr } = await limited('-v 1500000');
  assert.match(stderr, /^srds: expected [^\n]*free memory[^\n]*\n$/);
  assert.equal(code, 2);
});

test('flags win over the environment, and that over a file, which a server may share', async () => {
  writeFileSync(join(cwd, 'srds.json'), JSON.stringify({ steps: 4, size: '96x64', guidance: 3, port: 7860 }));
  const env = { SRDS_CONFIG: 'srds.json', SRDS_STEPS: '3', SRDS_GUIDANCE: '2', SRDS_SAMPLER: 'serial' };
  const args = ['generate', 'a', '--model', TINY, '--guidance', '1', '--out', 'a.png', '--json'];
  const { code, stdout, stderr } = await srdsCli(args, { cwd, env });
  assert.equal(code, 0, stderr);
  const { steps, guidance, sampler } = report.parse(JSON.parse(stdout));
  assert.deepEqual([steps, guidance, sampler], [3, 1, 'serial']);
  const { width, height } = await sharp(join(cwd, 'a.png')).metadata();
  assert.deepEqual([width, height], [96, 64]);
  const wrong = await failureIn({ cwd, env: { ...env, SRDS_STEPS: 'many' } }, ...args);
  assert.equal(wrong.code, 2);
  assert.match(wrong.message, /^expected [^\n]+ for SRDS_STEPS, found "many" in the environment; [^\n]+$/);
  const misspelt = await srdsCli(args, { cwd, env: { ...env, SRDS_STPES: '3' } });
  assert.equal(misspelt.stderr, 'srds: warning: no option has the variable SRDS_STPES (SRDS_STEPS?)\n');
});

test('help for what is no command is an error', async () => {
  for (const args of [
    ['nonsense', '--help'],
    ['help', 'nonsense'],
  ]) {
    const { message, code } = await failureIn({ cwd }, ...args);
    assert.deepEqual([message, code], ["unknown command 'nonsense'; see srds --help", 2]);
  }
});

test('help and version', async () => {
  const help = await generate('--help');
  assert.equal(help.code, 0);
  const groups = ['Common options', 'What to draw', 'Sampler and solver', 'Output', 'Devices', 'Other options'];
  const headings = groups.map((group) => help.stdout.indexOf(`\n${group}:\n`));
  assert.deepEqual(
    headings.toSorted((a, b) => a - b),
    headings,
  );
  assert.ok(headings[0] > 0 && headings[0] < help.stdout.indexOf('--steps <n>'));
  assert.ok(
    headings[2] < help.stdout.indexOf('--tolerance <t>') && help.stdout.indexOf('--tolerance <t>') < headings[3],
  );
  const serve = (await srdsCli(['serve', '--help'], { cwd })).stdout.replace(/\s+/g, ' ');
  assert.match(serve, /--deadline <seconds> [^[]*\(default: 600 s\)/);
  assert.match(serve, /--max-body <MiB> [^[]*\(default: 20 MiB\)/);
  assert.match((await srdsCli(['demo', '--help'], { cwd })).stdout, /--seed <n>/);
  const { stdout, code } = await srdsCli(['--version'], { cwd });
  assert.equal(code, 0);
  assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
});

/** Ids of the processes whose parent is `pid`. */
function childrenOf(pid: number): number[] {
  const lines = execFileSync('ps', ['-eo', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n');
  const pairs = lines.map((line) => line.trim().split(/\s+/).map(Number));
  return pairs.filter(([, parent]) => parent === pid).map(([child]) => child);
}

const kill = (pid: number) => {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ESRCH');
  }
};

const alive = (pid: number) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** A run that takes several seconds after its first preview. */
const LONG = tinyArgs(['--steps', '999', '--blocks', '4', '--previews', 'p', '--out', 'a.png']);

/** Waits until the run has written its first preview, that is, until it samples. */
async function untilSampling({ child }: Started): Promise<void> {
  while (!existsSync(join(cwd, 'p/seed0-iteration00.png'))) {
    assert.equal(child.exitCode, null);
    await delay(10);
  }
}

for (const [signal, exit] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  test(`${signal} while sampling ends with exit code ${exit}, a report, no file and no process`, async () => {
    const started = start([...LONG, '--tolerance', '0', '--json'], { cwd });
    const { child, ended } = started;
    await untilSampling(started);
    const children = childrenOf(child.pid!);
    assert.equal(children.length, 1);
    child.kill(signal);
    // npm and timeout pass on a signal that the process has received already.
    setTimeout(() => child.kill(signal), 5);
    const { code, stdout, stderr } = await ended;
    assert.deepEqual([code, stderr], [exit, '']);
    const [image] = report.parse(JSON.parse(stdout)).images;
    assert.deepEqual([image.file, image.status], [null, 'aborted']);
    assert.deepEqual(readdirSync(cwd), ['p']);
    assert.ok(!children.some(alive));
  });
}

test('Ctrl-C while the model loads ends it at once, with no process left', async () => {
  const { child, ended } = start(tinyArgs([]), { cwd });
  while (childrenOf(child.pid!).length === 0) {
    assert.equal(child.exitCode, null);
    await delay(5);
  }
  const children = childrenOf(child.pid!);
  child.kill('SIGINT');
  const { code, stderr } = await ended;
  assert.deepEqual([code, stderr], [130, 'srds: ended by SIGINT\n']);
  assert.ok(!children.some(alive));
  assert.deepEqual(readdirSync(cwd), []);
});

test('a device process that is killed each time it starts is an error, not a hang', async () => {
  const started = start(LONG, { cwd });
  const { child, ended } = started;
  await untilSampling(started);
  const killing = setInterval(() => {
    childrenOf(child.pid!).forEach(kill);
  }, 20);
  const { code, stderr } = await ended.finally(() => clearInterval(killing));
  assert.equal(code, 6);
  assert.match(stderr, /^(srds: warning: [^\n]*another takes its place\n){2}srds: expected [^\n]*SIGKILL[^\n]*\n$/);
  assert.deepEqual(readdirSync(cwd), ['p']);
});

test('when the command line itself is killed, its device process goes away', async () => {
  const started = start(LONG, { cwd });
  const { child, ended } = started;
  await untilSampling(started);
  const children = childrenOf(child.pid!);
  child.kill('SIGKILL');
  await ended;
  for (let tries = 0; children.some(alive) && tries < 500; tries++) await delay(10);
  assert.ok(!children.some(alive));
});

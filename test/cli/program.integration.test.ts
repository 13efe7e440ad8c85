import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failureIn } from '../support/program.js';

test('options out of range are one line that says what was expected, with an exit code of its own', async () => {
  const cases: [string[], RegExp][] = [
    [['a', '--nonsense'], /unknown option '--nonsense'/],
    [[], /missing required argument 'prompt'/],
    [['a', 'b'], /too many arguments/],
    [['a', '--steps'], /argument missing/],
    ...['0', '1.5', '1001', ''].map((n): [string[], RegExp] => [['a', '--steps', n], /steps/]),
    [['a', '--blocks', '26'], /blocks/],
    [['a', '--blocks', '0'], /blocks/],
    [['a', '--blocks', '1,2'], /add up to the 25 steps/],
    ...['130x128', '8x8', '99999x128', 'axb'].map((n): [string[], RegExp] => [['a', '--size', n], /expected .*found/]),
    [['a', '--sampler', 'euler'], /Allowed choices are auto, serial, srds/],
    [['a', '--correction', 'none'], /Allowed choices are secant, parareal/],
    [['a', '--tolerance', '-1'], /tolerance/],
    [['a', '--tolerance', 'NaN'], /tolerance/],
    [['a', '--guidance', 'x'], /guidance/],
    [['a', '--max-iterations', '0'], /iterations/],
    [['a', '--seed', '1.5'], /seed/],
    [['a', '--seed', '18446744073709551616'], /seed/],
    [['a', '--n', '0'], /--n\b/],
    [['a', '--n', '1000000000'], /--n\b/],
    [['a', '--threads', '0'], /threads/],
    [['a', '--workers', '0'], /workers/],
  ];
  for (const [args, expected] of cases) {
    const { message, code } = await failureIn('.', 'generate', ...args);
    assert.equal(code, 2, args.join(' '));
    assert.match(message, expected);
    assert.match(message, /^[^\n]+$/);
  }
});

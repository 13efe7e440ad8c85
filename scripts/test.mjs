// Runs the compiled tests below the folders that are named, or all of them.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';

const wanted = process.argv.slice(2);
const files = readdirSync('build/test', { recursive: true })
  .filter((name) => name.endsWith('.test.js'))
  .filter((name) => wanted.length === 0 || wanted.some((part) => name.startsWith(part)))
  .map((name) => `build/test/${name}`)
  .sort();
const options = ['--test', '--test-concurrency=2', '--test-timeout=180000'];
const { status } = spawnSync(process.execPath, [...options, ...files], { stdio: 'inherit' });
process.exitCode = status ?? 1;

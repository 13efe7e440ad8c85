// Builds dist if it is missing or older than its sources. Prints to stderr only, because stdout belongs to the command.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const SOURCES = ['src', 'web', 'package.json', 'tsconfig.json'];
/** The file that the build writes last. */
const LAST_OUTPUT = join(ROOT, 'dist/web/index.html');

if (!existsSync(LAST_OUTPUT) || newest(SOURCES) > statSync(LAST_OUTPUT).mtimeMs) {
  checkWritable();
  console.error('srds: building dist');
  const options = { cwd: ROOT, stdio: ['ignore', 2, 2], shell: process.platform === 'win32' };
  const { status } = spawnSync('npm', ['run', '--silent', 'build'], options);
  if (status !== 0) {
    console.error('srds: expected a build without errors, found the errors above; run npm ci, then npm run build');
    process.exit(1);
  }
}

/** Ends the process with one line if another user owns the clone: the build's own message is a trace. */
function checkWritable() {
  const dist = join(ROOT, 'dist');
  const folder = existsSync(dist) ? dist : ROOT;
  try {
    accessSync(folder, constants.W_OK);
  } catch ({ message }) {
    console.error(
      `srds: expected to write what is built to ${folder}, found ${message}; build as the user who owns it`,
    );
    process.exit(1);
  }
}

/** Latest modification of the files and folders, in milliseconds. */
function newest(names) {
  const files = names.flatMap((name) => {
    const path = join(ROOT, name);
    return statSync(path).isDirectory()
      ? [path, ...readdirSync(path, { recursive: true }).map((x) => join(path, x))]
      : path;
  });
  return Math.max(...files.map((path) => statSync(path).mtimeMs));
}

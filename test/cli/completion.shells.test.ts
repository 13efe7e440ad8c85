import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { outputOf } from '../support/program.js';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));
writeFileSync(join(scratch, 'photo.jpg'), '');
mkdirSync(join(scratch, 'photos'));

/** Runs a shell in a folder with a file and a folder. */
function shell(name: string, ...args: string[]): string {
  return execFileSync(name, args, {
    cwd: scratch,
    encoding: 'utf8',
    env: { ...process.env, HOME: scratch },
    timeout: 60_000,
  });
}

/** The path of a shell's completion script. */
async function scriptFor(name: string): Promise<string> {
  const path = join(scratch, `completion.${name}`);
  writeFileSync(path, (await outputOf({}, 'completion', name)).stdout);
  return path;
}

/** What is typed, and what completes the last word. */
const CASES: readonly (readonly [typed: string, words: readonly string[]])[] = [
  ['srds do', ['doctor']],
  ['srds generate --max-s', ['--max-sequence-length']],
  ['srds generate --sampler par', ['paradigms', 'parataa']],
  ['srds serve --log-level de', ['debug']],
  ['srds generate "a ball" --init pho', ['photo.jpg', 'photos']],
  ['srds generate --previews pho', ['photos']],
  ['srds inspect pho', ['photos']],
  ['srds inspect model pho', []],
  ['srds export-triton model pho', ['photos']],
  ['srds export-triton --backend python --name=x model --force pho', ['photos']],
  ['srds export-triton model repository pho', []],
  ['srds generate plan pho', []],
  ['srds trace pho', ['photo.jpg', 'photos']],
  ['srds completion z', ['zsh']],
  ['srds generate --steps ', []],
];

test('bash completes commands, options, choices, files and folders', async () => {
  const script = await scriptFor('bash');
  const run = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _srds; printf "%s\\n" "${COMPREPLY[@]}"';
  const completed = (...words: string[]) =>
    shell('bash', '-c', run, 'bash', script, ...words)
      .split('\n')
      .filter(Boolean);
  for (const [typed, words] of CASES) {
    // Bash splits words at an equals sign.
    const given = typed.replace('"a ball"', 'ball').replace('=', ' = ').split(' ');
    assert.deepEqual(completed(...given).sort(), words, typed);
  }
  assert.deepEqual(completed('srds', 'generate', '--solver', '=', 'eu'), ['euler']);
  assert.deepEqual(completed('srds', 'generate', '--correction', '='), ['secant', 'parareal']);
});

test('fish completes commands, options, choices, files and folders', async () => {
  const script = await scriptFor('fish');
  for (const [typed, words] of CASES) {
    const lines = shell('fish', '--no-config', '-c', 'source $argv[1]; complete -C $argv[2]', script, typed).split(
      '\n',
    );
    const found = lines.map((line) => line.split('\t')[0].replace(/\/$/, '')).filter(Boolean);
    assert.deepEqual(found.sort(), words, typed);
  }
});

test('zsh completes commands, options, choices, files and folders', async () => {
  const script = await scriptFor('zsh');
  // Completion needs a terminal, which zpty is. A tab completes what is certain, another one lists the rest.
  const run = `
    zmodload zsh/zpty
    zpty z zsh -f -i
    zpty -w z "PS1=; unsetopt beep; autoload -U compinit; compinit -u -D; source $1; LISTMAX=1000; echo 'is'ready"
    zpty -r -m z line '*isready*'
    zpty -n -w z "$2"$'\\t\\t'
    zpty -n -w z $'\\C-a: \\C-e; echo is""done\\n'
    zpty -r -m z line '*isdone*'
    print -r -- $line
    zpty -d z`;
  for (const [typed, words] of CASES) {
    const line = stripVTControlCharacters(shell('zsh', '-f', '-c', run, 'zsh', script, typed));
    for (const word of words) assert.ok(line.includes(word), `${typed}: ${JSON.stringify(line)}`);
    const wrong = ['doctor', '--max-sequence-length', 'parataa', 'debug', 'photo.jpg', 'photos', 'zsh\n'];
    for (const word of wrong)
      if (!words.includes(word)) assert.ok(!line.includes(word), `${typed}: ${JSON.stringify(line)}`);
  }
});

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { freemem, tmpdir, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { freeMemory } from 'srds/engine';
import { oomKills } from '../../src/engine/freeMemory.js';

let root = '';
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'srds-memory-'));
});
afterEach(() => rmSync(root, { recursive: true }));

function write(files: Readonly<Record<string, string>>): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), content);
  }
}

const MEMINFO = 'MemTotal:       4000 kB\nMemFree:         100 kB\nMemAvailable:   2000 kB\n';

test('the memory of cached files counts as free', () => {
  write({ 'proc/meminfo': MEMINFO });
  assert.equal(freeMemory([], root), 2000 * 1024);
});

test('a control group of version 2 limits it, also one further up; unlimited ones do not', () => {
  write({
    'proc/meminfo': MEMINFO,
    'proc/self/cgroup': '0::/system.slice/srds.service\n',
    'sys/fs/cgroup/system.slice/srds.service/memory.max': 'max\n',
    'sys/fs/cgroup/system.slice/srds.service/memory.current': '5000\n',
    'sys/fs/cgroup/system.slice/memory.max': '1000000\n',
    'sys/fs/cgroup/system.slice/memory.current': '700000\n',
    'sys/fs/cgroup/system.slice/memory.stat': 'anon 1\nactive_file 7\ninactive_file 50000\n',
  });
  assert.equal(freeMemory([], root), 350_000);
});

test('so does one of version 1, seen from inside a container', () => {
  write({
    'proc/meminfo': MEMINFO,
    'proc/self/cgroup': '5:cpu,cpuacct:/docker/1\n4:hugetlb,memory:/docker/1\n',
    'sys/fs/cgroup/memory/memory.limit_in_bytes': '600000\n',
    'sys/fs/cgroup/memory/memory.usage_in_bytes': '700000\n',
    'sys/fs/cgroup/memory/memory.stat': 'inactive_file 3\ntotal_inactive_file 110000\n',
  });
  assert.equal(freeMemory([], root), 10_000);
  write({ 'sys/fs/cgroup/memory/memory.usage_in_bytes': '800000\n' });
  assert.equal(freeMemory([], root), 0);
});

test('without these files it is what the system calls free', () => {
  const free = freeMemory([], root);
  assert.ok(free > 0 && free <= totalmem() && Math.abs(free - freemem()) < 1e9);
  assert.ok(freeMemory() > 0 && freeMemory() <= totalmem());
});

test('a limit on the address space of processes leaves what it exceeds what they reserve', () => {
  write({ 'proc/meminfo': 'MemAvailable: 64000000 kB\n' });
  const limits = (soft: string) =>
    `Limit                     Soft Limit           Hard Limit           Units\nMax address space         ${soft} unlimited            bytes\n`;
  write({ 'proc/self/limits': limits('3221225472          ') });
  assert.equal(freeMemory([], root), 2 ** 30);
  write({ 'proc/self/limits': limits('1000000             ') });
  assert.equal(freeMemory([], root), 0);
  write({ 'proc/self/limits': limits('unlimited           ') });
  assert.equal(freeMemory([7], root), 64_000_000 * 1024);
  // Weights and activations of earlier runs are in the size of a device process.
  write({ 'proc/self/limits': limits('8589934592          '), 'proc/7/status': 'Name:\tnode\nVmSize:\t 3145728 kB\n' });
  assert.equal(freeMemory([7], root), 8 * 2 ** 30 - 3 * 2 ** 30 - 2 ** 30);
  // A process that has ended takes nothing.
  assert.equal(freeMemory([8], root), 6 * 2 ** 30);
});

test('the kernel counts the processes that it ended for want of memory, where it says so', () => {
  assert.equal(oomKills(root), undefined);
  write({ 'proc/vmstat': 'nr_free_pages 12\noom_kill 7\noom_kill_other 3\n' });
  assert.equal(oomKills(root), 7);
});

import { readFileSync } from 'node:fs';
import { freemem } from 'node:os';
import { dirname, join } from 'node:path';

/** A limit on the memory of a control group, and what the group uses. Files count as free where the kernel can drop them. */
interface Controller {
  /** Folder of the hierarchy. */
  readonly mount: string;
  readonly limit: string;
  readonly usage: string;
  /** Field of `memory.stat`: bytes of files that were not read lately. */
  readonly droppable: string;
}

const V1: Controller = {
  mount: 'sys/fs/cgroup/memory',
  limit: 'memory.limit_in_bytes',
  usage: 'memory.usage_in_bytes',
  droppable: 'total_inactive_file',
};
const V2: Controller = {
  mount: 'sys/fs/cgroup',
  limit: 'memory.max',
  usage: 'memory.current',
  droppable: 'inactive_file',
};

/** Address space that a device process takes before it holds weights: V8 and ONNX Runtime reserve much of it (measured, rounded up). */
const RESERVED_BYTES = 2 ** 31;
/** Address space that a run takes beside its activations: heaps of threads, and what ONNX Runtime's arena allocates in advance (likewise). */
const RUN_BYTES = 2 ** 30;

/**
 * Bytes of memory that this process and its children can still take without swapping: on Linux what the kernel estimates
 * (MemAvailable), or what the control groups (v1 or v2) or the limit on the address space leave if that is less. Elsewhere what the
 * system calls free, which is less, because it leaves out the memory of cached files.
 * @param processes ids of the device processes, each with the same limit on its address space; default: none runs yet
 * @param root folder of `proc` and `sys`
 */
export function freeMemory(processes: readonly number[] = [], root = '/'): number {
  const meminfo = /^MemAvailable:\s+(\d+) kB$/m.exec(contentOf(root, 'proc/meminfo'));
  const system = meminfo ? 1024 * Number(meminfo[1]) : freemem();
  return Math.max(0, Math.min(system, addressSpace(processes, root), ...groupsOf(root)));
}

/** Processes that the kernel has ended for want of memory since it started; undefined where it does not count them. @param root folder of `proc` */
export function oomKills(root = '/'): number | undefined {
  const count = /^oom_kill (\d+)$/m.exec(contentOf(root, 'proc/vmstat'));
  return count ? Number(count[1]) : undefined;
}

/** Bytes that the limit on the address space of a process (`ulimit -v`) leaves for weights and activations. */
function addressSpace(processes: readonly number[], root: string): number {
  const limit = /^Max address space +(\d+) /m.exec(contentOf(root, 'proc/self/limits'));
  if (!limit) return Infinity;
  const taken = processes.map((pid) => {
    const size = /^VmSize:\s+(\d+) kB$/m.exec(contentOf(root, `proc/${pid}/status`));
    return size ? 1024 * Number(size[1]) + RUN_BYTES : 0;
  });
  return Number(limit[1]) - Math.max(RESERVED_BYTES, ...taken);
}

/** Bytes that each limited group of this process, and those around it, leave. */
function groupsOf(root: string): number[] {
  const lines = contentOf(root, 'proc/self/cgroup').split('\n');
  return lines.flatMap((line) => {
    const match = /^\d+:([^:]*):(.*)$/.exec(line);
    if (!match) return [];
    const [, controllers, path] = match;
    if (controllers === '') return left(root, V2, path);
    return controllers.split(',').includes('memory') ? left(root, V1, path) : [];
  });
}

function left(root: string, controller: Controller, path: string): number[] {
  const { mount, limit, usage, droppable } = controller;
  const fileOf = (name: string) => contentOf(root, join(mount, path, name));
  const most = Number.parseInt(fileOf(limit), 10);
  const used = Number.parseInt(fileOf(usage), 10);
  const files = new RegExp(`^${droppable} (\\d+)$`, 'm').exec(fileOf('memory.stat'));
  const here = Number.isFinite(most - used) ? [most - used + Number(files?.[1] ?? 0)] : [];
  return path === '/' ? here : [...here, ...left(root, controller, dirname(path))];
}

/** The content of a file; empty if it cannot be read. */
function contentOf(root: string, path: string): string {
  try {
    return readFileSync(join(root, path), 'utf8');
  } catch {
    return '';
  }
}

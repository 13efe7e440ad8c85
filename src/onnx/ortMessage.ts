import { shortened } from '../errors.js';

/** Longest reason, in characters: messages of ONNX Runtime quote expressions and functions of its source code. */
const MAX_LENGTH = 300;

/** A node that ONNX Runtime failed to run. */
export interface FailedNode {
  readonly operator: string;
  readonly why: string;
}

/** The node that ONNX Runtime failed to run, as its message tells; undefined if it failed otherwise. */
export function failedNode(message: string): FailedNode | undefined {
  const match = /while running (\S+) node\. Name:'.*?' Status Message: (.*)/.exec(message);
  return match ? { operator: match[1], why: reasonIn(match[2]) } : undefined;
}

/** The reason in a message of ONNX Runtime on one line, cut short: without its source code, and without the host that it ran on. */
export function reasonIn(message: string): string {
  const reason = (message.split(' was false. ').at(-1) ?? message)
    .replace(/^.*?(?=\b[A-Z_]+ failure \d+: )/, '')
    .replace(/^.*\.(?:cc|cu|cuh|h):\d+ (?:[^()]*\w\([^)]*\)(?: \[with [^\]]*\])?|\S+) (?=\S)/, '')
    .replace(/ ; GPU=.*$/, '');
  return shortened(reason, MAX_LENGTH);
}

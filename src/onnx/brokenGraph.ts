import { SrdsError } from '../errors.js';
import { failedNode, reasonIn } from './ortMessage.js';

/** The error for an ONNX file that cannot be used. @param why the cause, such as ONNX Runtime's message */
export function brokenGraph(path: string, why: string, options?: ErrorOptions): SrdsError {
  const remedy = 'export or download the model again';
  return new SrdsError('MODEL_INVALID', `a whole ONNX graph in ${path}`, why, remedy, options);
}

/** The error for an ONNX file with operators that a device has no kernels for. @param found which ones */
export function foreignGraph(path: string, device: string, found: string): SrdsError {
  const isForCuda = found.includes('optimized for CUDA');
  const elsewhere = device.startsWith('cuda')
    ? ''
    : `use --device cuda${isForCuda ? '' : ' if it was optimized for CUDA'}, or `;
  return new SrdsError(
    'MODEL_INVALID',
    runsOn(path, device),
    reasonIn(found),
    `${elsewhere}export it without optimization`,
  );
}

/** The error for an optimized ONNX file whose sizes a device's kernels do not take. @param found which operator, and why */
export function refusedGraph(path: string, device: string, found: string): SrdsError {
  return new SrdsError('MODEL_INVALID', runsOn(path, device), found, 'use the export that was not optimized');
}

/** The error for a graph that fails to run on inputs of the right kind. @param message ONNX Runtime's */
export function failingGraph(path: string, message: string): SrdsError {
  const node = failedNode(message);
  const why = node ? `${node.operator} that fails: ${node.why}` : reasonIn(message);
  const remedy = 'choose the size that it was exported for, or export it again with free axes';
  return new SrdsError('MODEL_INVALID', `a graph that runs at this size in ${path}`, why, remedy);
}

function runsOn(path: string, device: string): string {
  return `a graph that runs on ${device} in ${path}`;
}

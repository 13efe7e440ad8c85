import { SrdsError } from '../errors.js';

/** The error for an ONNX file that cannot be used. @param why the cause, such as ONNX Runtime's message */
export function brokenGraph(path: string, why: string, options?: ErrorOptions): SrdsError {
  const remedy = 'export or download the model again';
  return new SrdsError('MODEL_INVALID', `a whole ONNX graph in ${path}`, why, remedy, options);
}

/** The error for an ONNX file with operators that a device has no kernels for. @param found which ones */
export function foreignGraph(path: string, device: string, found: string): SrdsError {
  const remedy = 'use --device cuda if it was optimized for CUDA, or export it without optimization';
  return new SrdsError('MODEL_INVALID', `a graph that runs on ${device} in ${path}`, found, remedy);
}

/** The error for a graph that fails to run on inputs of the right kind. @param why ONNX Runtime's message */
export function failingGraph(path: string, why: string): SrdsError {
  const remedy = 'choose the size that it was exported for, or export it again with free axes';
  return new SrdsError('MODEL_INVALID', `a graph that runs at this size in ${path}`, why, remedy);
}

import { SrdsError } from '../errors.js';

/** The error for an ONNX file that cannot be used. @param why the cause, such as ONNX Runtime's message */
export function brokenGraph(path: string, why: string, options?: ErrorOptions): SrdsError {
  const remedy = 'export or download the model again';
  return new SrdsError('MODEL_INVALID', `a whole ONNX graph in ${path}`, why, remedy, options);
}

import { SrdsError } from '../errors.js';

/** What is said of an ONNX file that cannot be used. @param why in the words of whoever tried */
export function brokenGraph(path: string, why: string, options?: ErrorOptions): SrdsError {
  const remedy = 'export or download the model again';
  return new SrdsError('MODEL_INVALID', `a whole ONNX graph in ${path}`, why, remedy, options);
}

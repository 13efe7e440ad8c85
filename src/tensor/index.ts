export { float32, int64, sizeOf, type ElementType, type Tensor } from './tensor.js';
export { identical, maxAbsoluteDifference, meanAbsoluteDifference, type Values } from './operations.js';
export { decodeNpy, encodeNpy } from './npy.js';

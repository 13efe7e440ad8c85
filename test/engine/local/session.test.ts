import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isOfGraph, isRefusedCall } from '../../../src/engine/local/session.js';

const error = (why: string) =>
  new Error(`Non-zero status code returned while running GroupNorm node. Name:'GroupNorm_0' Status Message: ${why}`);

for (const why of [
  'GroupNorm in CUDA does not support the input: n=2 h=8 w=8 c=12 groups=4',
  'hidden size should be 2560, 5120, 6144, 10240 or 12288, got 1024',
  '/onnxruntime_src/onnxruntime/contrib_ops/cuda/diffusion/bias_split_gelu.cc:35 ComputeInternal hidden size should be 2560, got 1024',
]) {
  test(`of the graph: ${why.slice(0, 50)}`, () => assert.ok(isOfGraph(error(why))));
}

for (const why of [
  'CUDA failure 9: invalid configuration argument ; GPU=0 ; hostname=box',
  'CUDA failure 701: too many resources requested for launch ; GPU=0 ; hostname=box',
  'CUDNN failure 3: CUDNN_STATUS_BAD_PARAM ; GPU=0 ; hostname=box',
  'CUBLAS failure 7: CUBLAS_STATUS_INVALID_VALUE ; GPU=0 ; hostname=box',
]) {
  test(`of the graph only if an optimizer chose the operator: ${why.slice(0, 50)}`, () => {
    assert.ok(isRefusedCall(error(why)));
    assert.ok(!isOfGraph(error(why)));
  });
}

for (const why of [
  'CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=box',
  'CUDA failure 999: unknown error ; GPU=0 ; hostname=box',
  'CUDA_ERROR_ILLEGAL_ADDRESS',
  'CUDNN failure 4: CUDNN_STATUS_INTERNAL_ERROR ; GPU=0 ; hostname=box',
  'CUDNN failure 3000: CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH ; GPU=0 ; hostname=box',
  'Failed to initialize CUDNN Frontend',
  'WebGPU device lost',
]) {
  test(`of the device: ${why.slice(0, 50)}`, () => {
    assert.ok(!isOfGraph(error(why)));
    assert.ok(!isRefusedCall(error(why)));
  });
}

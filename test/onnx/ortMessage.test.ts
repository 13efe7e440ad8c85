import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failedNode, reasonIn } from '../../src/onnx/ortMessage.js';

test('the operator that failed and the reason are read from a message of ONNX Runtime', () => {
  const message =
    "Non-zero status code returned while running GroupNorm node. Name:'GroupNorm_0' Status Message: GroupNorm in CUDA does not support the input: n=2 h=8 w=8 c=12 groups=4";
  assert.deepEqual(failedNode(message), {
    operator: 'GroupNorm',
    why: 'GroupNorm in CUDA does not support the input: n=2 h=8 w=8 c=12 groups=4',
  });
  assert.equal(failedNode('Got invalid dimensions for input: sample'), undefined);
});

for (const [message, reason] of [
  ['hidden size should be 2560, got 1024', 'hidden size should be 2560, got 1024'],
  [
    '/onnxruntime_src/onnxruntime/core/providers/cpu/tensor/reshape_helper.h:41 onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::TensorShape&, onnxruntime::TensorShapeVector&, bool) input_shape_size == size was false. The input tensor cannot be reshaped',
    'The input tensor cannot be reshaped',
  ],
  [
    '/onnxruntime_src/onnxruntime/core/session/provider_bridge_ort.cc:1778 onnxruntime::Provider& onnxruntime::ProviderLibrary::Get() [ONNXRuntimeError] : 1 : FAIL : Failed to load library (cuDNN)',
    '[ONNXRuntimeError] : 1 : FAIL : Failed to load library (cuDNN)',
  ],
  ['device.cc:12 Initialize No adapter (0 found)', 'No adapter (0 found)'],
  [
    '/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:129 std::conditional_t<THRW, void, onnxruntime::common::Status> onnxruntime::CudaCall(ERRTYPE, const char*, int) [with ERRTYPE = cudaError; bool THRW = true] CUDA failure 9: invalid configuration argument ; GPU=0 ; hostname=box ; file=group_norm.cc ; line=1 ; expr=cudaGetLastError();',
    'CUDA failure 9: invalid configuration argument',
  ],
  ['x'.repeat(400), `${'x'.repeat(300)}...`],
] as const) {
  test(`without source code and host: ${reason.slice(0, 60)}`, () => assert.equal(reasonIn(message), reason));
}

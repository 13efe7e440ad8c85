import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { GraphProtoSchema, NodeProtoSchema } from 'onnx-buf';
import { foreignGraph, refusedGraph } from '../../src/onnx/brokenGraph.js';
import { gpuOperators, optimizedOperators, refusedOperator } from '../../src/onnx/foreignOperators.js';

const failure = (operator: string, why: string) =>
  `Non-zero status code returned while running ${operator} node. Name:'${operator}_0' Status Message: ${why}`;

type Node = readonly [opType: string, input?: string[]];

/** The operators of a graph with nodes of ONNX Runtime's domain. */
function operatorsOf(...nodes: readonly Node[]) {
  const node = nodes.map(([opType, input = []]) => create(NodeProtoSchema, { opType, input, domain: 'com.microsoft' }));
  return optimizedOperators(create(GraphProtoSchema, { node: [...node, create(NodeProtoSchema, { opType: 'Conv' })] }));
}

test('operators for a GPU are named once; attentions count where inputs are packed', () => {
  const named = (...nodes: readonly Node[]) => gpuOperators(operatorsOf(...nodes));
  assert.deepEqual(named(['MultiHeadAttention', ['q', 'k', 'v']], ['QuickGelu', ['x']]), []);
  assert.deepEqual(named(['NhwcConv'], ['MultiHeadAttention', ['qkv']], ['NhwcConv']), [
    'NhwcConv',
    'MultiHeadAttention',
  ]);
  const mixed = named(['MultiHeadAttention', ['q', 'kv', '', 'bias']], ['MultiHeadAttention', ['q', 'k', 'v']]);
  assert.deepEqual(mixed, ['MultiHeadAttention']);
});

test('a graph whose sizes a kernel of CUDA refuses was optimized for CUDA: one line says so, and what to do', () => {
  const optimized = operatorsOf(['NhwcConv'], ['GroupNorm'], ['BiasSplitGelu'], ['MultiHeadAttention']);
  for (const [operator, why] of [
    ['GroupNorm', 'GroupNorm in CUDA does not support the input: n=2 h=8 w=8 c=12 groups=4'],
    ['BiasSplitGelu', 'hidden size should be 2560, 5120, 6144, 10240 or 12288, got 1024'],
    ['MultiHeadAttention', 'Head size is not supported'],
  ] as const) {
    const refused = refusedOperator(optimized, failure(operator, why));
    const { code, message } = refusedGraph('unet/model.onnx', 'cuda:0', refused?.message ?? '');
    assert.equal(code, 'MODEL_INVALID');
    assert.equal(
      message,
      `expected a graph that runs on cuda:0 in unet/model.onnx, found one that was optimized for CUDA, whose ${operator} fails: ${why}; use the export that was not optimized`,
    );
  }
});

test('operators that run on a CPU too do not tell for what a graph was optimized', () => {
  assert.match(
    refusedOperator(operatorsOf(['QuickGelu']), failure('QuickGelu', 'x'))?.message ?? '',
    /^one that was optimized, whose/,
  );
});

test('an operator that is not of the optimizer, and a failure outside of a node, are no refusal', () => {
  assert.equal(refusedOperator(operatorsOf(['NhwcConv']), failure('MatMul', 'left 3, right 4')), undefined);
  // ONNX Runtime fuses graphs of its own too.
  assert.equal(refusedOperator([], failure('BiasGelu', 'bias of another length')), undefined);
  assert.equal(refusedOperator(operatorsOf(['GroupNorm']), 'GroupNorm: INVALID_GRAPH'), undefined);
});

test('a graph without kernels on CUDA is not sent to CUDA', () => {
  assert.match(
    foreignGraph('model.onnx', 'cpu', 'NhwcConv').remedy,
    /^use --device cuda if it was optimized for CUDA, or export/,
  );
  assert.match(
    foreignGraph('model.onnx', 'cpu', 'one that was optimized for CUDA (NhwcConv)').remedy,
    /^use --device cuda, or/,
  );
  assert.match(foreignGraph('model.onnx', 'cuda:0', 'Unknown').remedy, /^export it without/);
});

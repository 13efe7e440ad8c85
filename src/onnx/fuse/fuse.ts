import { create } from '@bufbuild/protobuf';
import { OperatorSetIdProtoSchema, type ModelProto } from 'onnx-buf';
import type { DeviceKind, Fused } from '../graphInfo.js';
import { hasInnerGraphs } from '../constants.js';
import { attendAtOnce } from './attention.js';
import { normalizeByLayers } from './groupNorm.js';
import { CONTRIB } from './operators.js';
import { projectAtOnce } from './projections.js';
import { keepSums, normalizeResiduals } from './residuals.js';

/** Those of the operators that are known here; others may have operators of the same names. */
const DOMAINS = new Set(['', 'ai.onnx', CONTRIB]);
/** The first opset with LayerNormalization. */
const LAYER_NORM_OPSET = 17;
/** The first opset where Split takes its lengths as an input. */
const SPLIT_OPSET = 13;

/**
 * Writes a graph in fewer operators, since a GPU that runs a small model waits for each to be launched: attention,
 * normalizations, and projections of one input. ONNX Runtime's own optimizer does not see them in the UNets that torch exports. What
 * is not seen to be one of them, whatever the sizes of the inputs, stays as it is.
 */
export function fuse(model: ModelProto, device: DeviceKind): Fused | undefined {
  const { graph, opsetImport } = model;
  if (!graph || hasInnerGraphs(graph) || graph.node.some(({ domain }) => !DOMAINS.has(domain))) return undefined;
  const opset = Number(opsetImport.find(({ domain }) => domain === '' || domain === 'ai.onnx')?.version ?? 0);
  const normalizations = opset >= LAYER_NORM_OPSET ? normalizeByLayers(graph, device) : 0;
  const attentions = attendAtOnce(graph);
  const residuals = normalizeResiduals(graph);
  const projections = opset >= SPLIT_OPSET ? projectAtOnce(graph) : 0;
  if (device !== 'webgpu') keepSums(graph);
  if (graph.node.some(({ domain }) => domain === CONTRIB) && !opsetImport.some(({ domain }) => domain === CONTRIB)) {
    opsetImport.push(create(OperatorSetIdProtoSchema, { domain: CONTRIB, version: 1n }));
  }
  const fused = { attentions, normalizations, residuals, projections };
  return Object.values(fused).some((count) => count > 0) ? fused : undefined;
}

import { create } from '@bufbuild/protobuf';
import { OperatorSetIdProtoSchema, type ModelProto } from 'onnx-buf';
import type { DeviceKind, Fused } from '../graphInfo.js';
import { hasInnerGraphs } from '../constants.js';
import { attendAtOnce } from './attention.js';
import { KERNEL_DOMAIN } from './kernels/domain.js';
import { useKernels } from './kernels/kernels.js';
import { normalizeByLayers } from './groupNorm.js';
import { CONTRIB } from './operators.js';
import { projectAtOnce } from './projections.js';
import { keepSums, normalizeResiduals } from './residuals.js';

/** Which kernels the graph may rely on: those of ONNX Runtime, or this package's too (`kernels/`). */
export type Kernels = 'onnxruntime' | 'own';

/** Domains of the operators that are known here; other domains may have operators of the same names. */
const DOMAINS = new Set(['', 'ai.onnx', CONTRIB]);
/** The first opset with LayerNormalization. */
const LAYER_NORM_OPSET = 17;
/** The first opset in which Split takes its lengths as an input. */
const SPLIT_OPSET = 13;

/**
 * Fuses attention, normalizations, and projections of one input, since launching operators dominates the time of a small model on a
 * GPU. ONNX Runtime's own optimizer does not recognize them in the UNets that torch exports. A pattern is fused only if the graph
 * proves that the result is the same for all input sizes.
 * @returns counts of the fusions; undefined if there are none
 */
export function fuse(model: ModelProto, device: DeviceKind, kernels: Kernels = 'onnxruntime'): Fused | undefined {
  const { graph, opsetImport } = model;
  if (!graph || hasInnerGraphs(graph) || graph.node.some(({ domain }) => !DOMAINS.has(domain))) return undefined;
  const opset = Number(opsetImport.find(({ domain }) => domain === '' || domain === 'ai.onnx')?.version ?? 0);
  const attentions = attendAtOnce(graph);
  const residuals = normalizeResiduals(graph);
  const projections = opset >= SPLIT_OPSET ? projectAtOnce(graph) : 0;
  const inKernels = kernels === 'own' ? useKernels(graph) : 0;
  const normalizations = inKernels + (opset >= LAYER_NORM_OPSET ? normalizeByLayers(graph, device) : 0);
  if (device !== 'webgpu') keepSums(graph);
  for (const domain of [CONTRIB, KERNEL_DOMAIN]) {
    const isUsed = graph.node.some((one) => one.domain === domain);
    if (!isUsed || opsetImport.some((known) => known.domain === domain)) continue;
    opsetImport.push(create(OperatorSetIdProtoSchema, { domain, version: 1n }));
  }
  const fused = { attentions, normalizations, residuals, projections };
  return Object.values(fused).some((count) => count > 0) ? fused : undefined;
}

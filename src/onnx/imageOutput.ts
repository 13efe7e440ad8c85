import { create } from '@bufbuild/protobuf';
import { TensorProto_DataType as Type, ValueInfoProtoSchema, type ModelProto } from 'onnx-buf';
import { describeValue } from './describeValue.js';
import { castNode, derived, node, realNumber, transposeNode } from './nodes.js';

/** The first opset with Round, and with the bounds of Clip as inputs. */
const LEAST_OPSET = 11;

/**
 * Appends an output with the images of the first one in 8 bits, uint8 [rows, height, width, 3]: round(255 clamp(x / 2 + 1/2, 0, 1)), each
 * operation in float32, halves to even. NaN becomes 0, as the casts of CUDA, x86 and numpy have it.
 * Source: diffusers VaeImageProcessor.postprocess.
 * @returns its name; undefined if the first output is not float32 [rows, 3, height, width], or the opset has other operators
 */
export function appendImageOutput({ graph, opsetImport }: ModelProto): string | undefined {
  const opset = opsetImport.find(({ domain }) => domain === '' || domain === 'ai.onnx')?.version ?? 0n;
  const decoded = graph?.output.at(0);
  if (!graph || !decoded || opset < LEAST_OPSET) return undefined;
  const { name, type, dims } = describeValue(decoded);
  const isImage = type === 'float32' && dims.length === 4 && (dims[1] === 3 || typeof dims[1] === 'string');
  if (!isImage) return undefined;
  const part = (of: string) => derived(name, of);
  const image = part('image');
  graph.node.push(
    realNumber(part('zero'), 0),
    realNumber(part('half'), 0.5),
    realNumber(part('one'), 1),
    realNumber(part('white'), 255),
    node('Mul', [name, part('half')], part('halved')),
    node('Add', [part('halved'), part('half')], part('shifted')),
    node('Clip', [part('shifted'), part('zero'), part('one')], part('clamped')),
    node('Mul', [part('clamped'), part('white')], part('scaled')),
    node('Round', [part('scaled')], part('rounded')),
    castNode(part('rounded'), part('planes'), Type.UINT8),
    transposeNode(part('planes'), image, [0, 2, 3, 1]),
  );
  const elements = { value: { case: 'tensorType' as const, value: { elemType: Type.UINT8 } } };
  graph.output.push(create(ValueInfoProtoSchema, { name: image, type: elements }));
  return image;
}

import type { GraphProto } from 'onnx-buf';
import type { InputRole, TensorInfo } from './graphInfo.js';
import { innerGraphs } from './constants.js';
import { valuesOf } from './describeValue.js';
import { derived } from './nodes.js';

const WHOLE = /^u?int\d+$/;

/**
 * Finds the inputs that evaluations give among those of a graph: by name, or else by type, number of axes and position.
 * @returns the names that inputs of the graph have in evaluations, by their own, without inputs that no role fits; empty if a role that
 *   graphs cannot lack fits no input
 */
export function matchInputs(inputs: readonly TensorInfo[], roles: readonly InputRole[]): Map<string, string> {
  const names = new Map<string, string>();
  const isFree = ({ name }: TensorInfo) => !names.has(name);
  const given = new Set(inputs.map(({ name }) => name));
  for (const { name } of roles) if (given.has(name)) names.set(name, name);
  const open = roles.filter(({ name }) => !given.has(name));
  // The length of an axis or a part of the name says more than the position does.
  const telling = (role: InputRole) => (input: TensorInfo) =>
    role.optional === undefined
      ? role.last !== undefined && input.dims.at(-1) === role.last
      : input.name.includes(role.optional);
  for (const role of open) {
    const found = inputs.filter(isFree).find((input) => fits(input, role) && telling(role)(input));
    if (found) names.set(found.name, role.name);
  }
  const matched = new Set(names.values());
  for (const role of open) {
    if (role.optional !== undefined || matched.has(role.name)) continue;
    const found = inputs.filter(isFree).find((input) => fits(input, role));
    if (found) names.set(found.name, role.name);
  }
  const isComplete = roles.every(({ name, optional }) => optional !== undefined || new Set(names.values()).has(name));
  return isComplete ? names : new Map<string, string>();
}

function fits({ type, dims }: TensorInfo, { ranks, whole = false, last }: InputRole): boolean {
  if (ranks && !ranks.includes(dims.length)) return false;
  if (whole && !WHOLE.test(type)) return false;
  const end = dims.at(-1);
  return last === undefined || typeof end !== 'number' || end === last;
}

/** Renames the inputs of a graph to what evaluations call them. */
export function renameInputs(graph: GraphProto, roles: readonly InputRole[]): void {
  const changes = [...matchInputs(valuesOf(graph).inputs, roles)].filter(([own, name]) => own !== name);
  // In two passes, since a new name may be the old one of another input, or that of an output.
  for (const [, name] of changes) renameValue(graph, name, derived(name, 'own'));
  for (const [own, name] of changes) {
    const isMoved = changes.some(([, other]) => other === own);
    renameValue(graph, isMoved ? derived(own, 'own') : own, name);
  }
}

/** Renames a value wherever a graph or its subgraphs mention it. */
export function renameValue(graph: GraphProto, from: string, to: string): void {
  const renamed = (name: string) => (name === from ? to : name);
  for (const value of [...graph.input, ...graph.output, ...graph.valueInfo, ...graph.initializer])
    value.name = renamed(value.name);
  for (const node of graph.node) {
    node.input = node.input.map(renamed);
    node.output = node.output.map(renamed);
    for (const inner of innerGraphs(node)) renameValue(inner, from, to);
  }
}

/** Makes the nodes of a graph and of its subgraphs read another value. */
export function replaceUses(graph: GraphProto, from: string, to: string): void {
  for (const node of graph.node) {
    node.input = node.input.map((name) => (name === from ? to : name));
    for (const inner of innerGraphs(node)) replaceUses(inner, from, to);
  }
}

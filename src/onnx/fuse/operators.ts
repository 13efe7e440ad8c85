import type { GraphProto, NodeProto } from 'onnx-buf';

/** Domain of ONNX Runtime's own operators. */
export const CONTRIB = 'com.microsoft';

/** Replaces nodes, sorts all nodes topologically, and removes those that no output depends on. */
export function replaceNodes(graph: GraphProto, by: ReadonlyMap<NodeProto, readonly NodeProto[]>): void {
  const nodes = graph.node.flatMap((one) => by.get(one) ?? [one]);
  const maker = new Map(nodes.flatMap((one) => one.output.map((name) => [name, one] as const)));
  // Omitted inputs and outputs have an empty name.
  maker.delete('');
  const used = new Set<NodeProto>();
  const follow = graph.output.flatMap(({ name }) => maker.get(name) ?? []);
  for (const one of follow) {
    if (used.has(one)) continue;
    used.add(one);
    follow.push(...one.input.flatMap((name) => maker.get(name) ?? []));
  }
  const ordered = new Set<NodeProto>();
  const put = (one: NodeProto): void => {
    if (ordered.has(one)) return;
    for (const name of one.input) {
      const before = maker.get(name);
      if (before) put(before);
    }
    ordered.add(one);
  };
  for (const one of nodes) if (used.has(one)) put(one);
  graph.node = [...ordered];
}

import { Dataflow } from './dataflow.js';
import { findLeading } from './leading.js';
import { findChannels, findWidth } from './lengths.js';
import { findOrigin } from './origin.js';
import { findRank } from './rank.js';
import { leadingOfShape, shapeEntries } from './shapeEntries.js';
import type { ShapeFacts } from './shapeFacts.js';

/** A graph as the fusions see it: its dataflow and what it proves about shapes. Each fact is found once. */
export class GraphView extends Dataflow implements ShapeFacts {
  readonly rank: ShapeFacts['rank'] = memoized((name: string) => findRank(name, this));
  readonly width: ShapeFacts['width'] = memoized((name: string) => findWidth(name, this));
  readonly origin: ShapeFacts['origin'] = memoized((name: string) => findOrigin(name, this));
  readonly channels: ShapeFacts['channels'] = memoized((name: string) => findChannels(name, this));
  readonly leading: ShapeFacts['leading'] = memoized((name: string) => findLeading(name, this));

  /** The entries of a shape, each undefined where unknown; undefined if their number is unknown. */
  entries(shape: string): (number | undefined)[] | undefined {
    return shapeEntries(shape, this);
  }

  /** Whether the first entry of a shape is the length of a value's first axis. */
  isLeading(shape: string, value: string): boolean {
    const leading = leadingOfShape(shape, this);
    return leading !== undefined && leading === this.leading(value);
  }
}

function memoized<Value>(find: (name: string) => Value): (name: string) => Value {
  const known = new Map<string, Value>();
  return (name) => {
    const before = known.get(name);
    if (before !== undefined || known.has(name)) return before as Value;
    const value = find(name);
    known.set(name, value);
    return value;
  };
}

/** An evaluation that waits for a batch. */
export interface PendingEvaluation {
  /** Rows of the network that it takes. */
  readonly rows: number;
  /** Lower goes first among those of a client, compared entry by entry. */
  readonly priority: readonly number[];
  /** Whether its result may turn out to be useless. */
  readonly speculative: boolean;
  /** Only evaluations with equal keys can share a batch. */
  readonly key: string;
  /** Rows of the largest batch that is worth its time. */
  readonly maxRows: number;
  /** Rows up to which a batch is filled before other free devices get a share. */
  readonly minRows: number;
}

/** The pending evaluations of one client. Clients share batches fairly. */
export interface ClientQueue<Item extends PendingEvaluation> {
  readonly pending: readonly Item[];
  /** Rows that the client has been given so far. */
  readonly servedRows: number;
  /** Evaluations of the client that are running. */
  readonly running: number;
  /** Rows that the client may take of a batch, so that its urgent evaluations are not delayed. */
  readonly maxClientRows: number;
}

/** What limits the next batch. */
export interface EngineCapacity {
  /** Rows of the largest batch that the engine takes. */
  readonly maxRows: number;
  /** Devices over which pending evaluations are spread. */
  readonly freeDevices: number;
  /** Whether the clients fill the engine, so that speculative evaluations get only the rows that are left over. */
  readonly contended: boolean;
}

/**
 * The evaluations of the next batch; a pure function. The client with the fewest served rows goes first, with its most urgent
 * evaluation. The batch is then filled with evaluations of the same key: one of each client, then more of each in turn. Pending
 * evaluations are spread over the free devices, unless the batch is too small to gain from splitting. In a contended engine each
 * client's most urgent non-speculative evaluation is always admitted, so that no client starves, and speculation comes last.
 * @example
 * const client = { pending, servedRows: 0, running: 0, maxClientRows: Infinity };
 * const batch = nextBatch([client], { maxRows: 32, freeDevices: 1, contended: false });
 */
export function nextBatch<Item extends PendingEvaluation>(
  clients: readonly ClientQueue<Item>[],
  { maxRows, freeDevices, contended }: EngineCapacity,
): Item[] {
  const waiting = clients.filter(({ pending }) => pending.length > 0).map((client) => sorted(client));
  if (waiting.length === 0) return [];
  const able = waiting.filter((client) => leader(client, contended) !== undefined);
  // Ties go to the newest client: text encoders and the VAE use a new client for each call, and a run waits for them.
  const next = (able.length > 0 ? able : waiting).reduce((a, b) => (b.servedRows <= a.servedRows ? b : a));
  const first = leader(next, contended) ?? next.pending[0];
  const queues = waiting.map((client) => ({
    client,
    leader: leader(client, contended),
    alike: alikeIn(client.pending, first.key),
    served: client.servedRows,
    taken: 0,
  }));
  const all = queues.reduce(
    (sum, { alike, client }) => sum + Math.min(totalRows(alike), client.maxClientRows * freeDevices),
    0,
  );
  const most = Math.min(maxRows, first.maxRows);
  const capacity = Math.min(most, Math.max(first.rows, first.minRows, Math.ceil(all / freeDevices)));

  const batch: Item[] = [];
  let rows = 0;
  for (const admitsRest of [false, true]) {
    const turns = queues.map((queue) => ({
      queue,
      items: contended
        ? queue.alike.filter((item) => (!item.speculative || item === queue.leader) !== admitsRest)
        : leading(queue.alike, queue.leader, admitsRest),
      next: 0,
    }));
    for (;;) {
      const open = turns.filter(
        ({ queue: { taken, client }, items, next: at }) =>
          at < items.length && (taken === 0 || taken + items[at].rows <= client.maxClientRows),
      );
      if (open.length === 0) break;
      const turn = open.reduce((a, b) => (b.queue.served < a.queue.served ? b : a));
      const item = turn.items[turn.next];
      if (batch.length > 0 && rows + item.rows > capacity) break;
      turn.next++;
      turn.queue.served += item.rows;
      turn.queue.taken += item.rows;
      rows += item.rows;
      batch.push(item);
    }
  }
  return batch;
}

/** Number of rows of all items. */
export function totalRows(items: readonly Pick<PendingEvaluation, 'rows'>[]): number {
  return items.reduce((sum, { rows }) => sum + rows, 0);
}

/**
 * The evaluation of a client that is always admitted: the most urgent one, in a contended engine the most urgent non-speculative one. A
 * client without non-speculative evaluations waits for its running ones.
 */
function leader<Item extends PendingEvaluation>(
  { pending, running }: ClientQueue<Item>,
  contended: boolean,
): Item | undefined {
  if (!contended) return pending[0];
  return pending.find(({ speculative }) => !speculative) ?? (running === 0 ? pending[0] : undefined);
}

/** The evaluations with a key. */
function alikeIn<Item extends PendingEvaluation>(pending: readonly Item[], wanted: string): readonly Item[] {
  return pending.every(({ key }) => key === wanted) ? pending : pending.filter(({ key }) => key === wanted);
}

/** The leader if it is among the evaluations, of which it is the first then, or the others. */
function leading<Item>(alike: readonly Item[], leader: Item | undefined, others: boolean): readonly Item[] {
  const count = alike[0] === leader ? 1 : 0;
  return others ? alike.slice(count) : alike.slice(0, count);
}

function sorted<Item extends PendingEvaluation>(client: ClientQueue<Item>): ClientQueue<Item> {
  const { pending } = client;
  const inOrder = pending.every((item, k) => k === 0 || byPriority(pending[k - 1], item) <= 0);
  return inOrder ? client : { ...client, pending: pending.toSorted(byPriority) };
}

type Prioritized = Pick<PendingEvaluation, 'priority'>;

/** Orders by priority, such as pending evaluations of a client: lower goes first, compared entry by entry. */
export function byPriority({ priority: a }: Prioritized, { priority: b }: Prioritized): number {
  const length = Math.min(a.length, b.length);
  for (let k = 0; k < length; k++) if (a[k] !== b[k]) return a[k] - b[k];
  return a.length - b.length;
}

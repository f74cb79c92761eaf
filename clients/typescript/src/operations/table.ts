/** The operations that a client knows: folded from events, on top of what the hub's list said. Pure. */

import { type FoldedEvent, foldEvent } from "./fold.ts";
import { isLive, type Operation } from "./operation.ts";

/** Ended operations that are kept in any case: as many as the hub lists at a time. */
const MIN_ENDED = 1_000;
/** Maximum ended operations that are kept where a reader went back to older ones. */
const MAX_ENDED = 5_000;
/** How many more may be there before those that ended first are removed, as a share: removing them sorts them all. */
const SLACK = 0.1;
/** Maximum depth of progress roll-up. Bounded because parent ids come from clients and may form cycles. */
const MAX_DEPTH = 16;
/** Maximum weight of a child: sums of greater weights would lose the small ones. */
const MAX_WEIGHT = 1e9;

interface Entry {
  /** As the events say. */
  own: Operation;
  /** As it was published last: with progress of the children. */
  published: Operation | undefined;
  /** Progress of its children by the hub's list; undefined where the children are known better. */
  ofChildren: number | undefined;
  /** When the attempt was queued or started, in milliseconds since 1970. */
  beganMs: number;
}

/** What has changed since the last publication. */
export interface Changes {
  /** Ids of the operations with another snapshot, or no longer any. */
  readonly ids: ReadonlySet<string>;
  /** Whether operations came, went or moved in the list. */
  readonly order: boolean;
}

/** The operations by their ids, in two versions: as they are, and as they were when `publish` was last called. */
export class OperationTable {
  readonly #entries = new Map<string, Entry>();
  readonly #children = new Map<string, Set<string>>();
  readonly #minEnded: number;
  /** Ended operations to keep. */
  #capacity: number;
  #evicted = false;
  #changed = new Set<string>();
  #moved = false;
  #ended = 0;
  #order: readonly string[] = [];
  #list: readonly Operation[] | undefined = [];

  constructor(minEnded = MIN_ENDED) {
    this.#minEnded = minEnded;
    this.#capacity = minEnded;
  }

  /** Number of operations. */
  get size(): number {
    return this.#entries.size;
  }

  /** Whether anything has changed since the last publication. */
  get dirty(): boolean {
    return this.#moved || this.#changed.size > 0;
  }

  /** Returns whether operations were removed, since this was last asked, that the hub may still list. */
  takeEvicted(): boolean {
    const evicted = this.#evicted;
    this.#evicted = false;
    return evicted;
  }

  /** Returns whether an operation is known. */
  has(id: string): boolean {
    return this.#entries.has(id);
  }

  /** Returns a published operation. */
  get(id: string): Operation | undefined {
    return this.#entries.get(id)?.published;
  }

  /** The ids of all published operations, the attempt that began last first. */
  get order(): readonly string[] {
    return this.#order;
  }

  /** All published operations, in the order of `order`. */
  get list(): readonly Operation[] {
    this.#list ??= this.#order.flatMap((id) => this.get(id) ?? []);
    return this.#list;
  }

  /** Replaces all operations by rows of the hub's list. */
  reset(rows: readonly Operation[]): void {
    const kept = new Set(rows.map((row) => row.operation_id));
    for (const id of [...this.#entries.keys()]) if (!kept.has(id)) this.#remove(id);
    for (const row of rows) this.#setRow(row);
    this.#evicted = false;
    this.#capacity = Math.max(this.#minEnded, this.#ended);
  }

  /** Adds rows of the hub's list, and returns their number; those of operations that are known change nothing. */
  add(rows: readonly Operation[]): number {
    const added = rows.filter(({ operation_id }) => !this.#entries.has(operation_id));
    for (const row of added) this.#setRow(row);
    // What someone asked for stays beside the newest.
    const older = added.filter((row) => !isLive(row)).length;
    this.#capacity = Math.max(this.#capacity, Math.min(MAX_ENDED, this.#capacity + older));
    return added.length;
  }

  /** Returns whether an operation is known and has not ended. */
  isLive(id: string): boolean {
    const own = this.#entries.get(id)?.own;
    return own !== undefined && isLive(own);
  }

  /**
   * Takes rows that are newer than what is known.
   *
   * @param rows - Operations by id.
   * @param troubled - Ids of all that are stalled or whose producer is away now.
   * @param except - Ids of operations that are known better.
   */
  update(rows: ReadonlyMap<string, Operation>, troubled: ReadonlySet<string>, except: ReadonlySet<string>): void {
    for (const [id, { own }] of this.#entries) {
      const isTroubled = own.stalled === true || own.presence === "away";
      if (!isTroubled || !isLive(own) || troubled.has(id) || except.has(id)) continue;
      this.#set(id, { ...own, stalled: false, presence: "attached", away_since: undefined });
    }
    for (const [id, row] of rows) if (!except.has(id)) this.#setRow(row);
    if (this.#ended > this.#capacity * (1 + SLACK)) this.#evict();
  }

  /**
   * Applies an event, in log order.
   *
   * @param id - The operation.
   * @param event - An event of its life, or an estimate.
   * @param receivedMs - Time at which the hub received it, in milliseconds since 1970.
   * @param mayBeOld - Whether the event may be older than the row on which it is applied: the list was read while it was
   *   stored.
   */
  apply(id: string, event: FoldedEvent, receivedMs: number, mayBeOld = false): void {
    const before = this.#entries.get(id)?.own;
    if (before !== undefined && isStale(before, event, mayBeOld)) return;
    const after = foldEvent(before, event, receivedMs);
    if (after === undefined || after === before) return;
    this.#set(id, after);
    if (this.#ended > this.#capacity * (1 + SLACK)) this.#evict();
  }

  /** Publishes all changes, and returns what they are. */
  publish(): Changes {
    const changes: Changes = { ids: this.#changed, order: this.#moved };
    this.#changed = new Set();
    for (const id of changes.ids) {
      const entry = this.#entries.get(id);
      if (entry !== undefined) entry.published = this.#view(entry);
    }
    if (this.#moved) {
      const sorted = [...this.#entries].sort(([a, { beganMs: x }], [b, { beganMs: y }]) => y - x || (a < b ? -1 : 1));
      this.#order = sorted.map(([id]) => id);
      this.#moved = false;
    }
    if (changes.ids.size > 0 || changes.order) this.#list = undefined;
    return changes;
  }

  #setRow(row: Operation): void {
    const isRolledUp = row.progress_of === "children";
    const own = isRolledUp ? { ...row, progress: undefined, progress_of: undefined } : row;
    this.#set(row.operation_id, own, isRolledUp ? row.progress : undefined);
  }

  #set(id: string, own: Operation, ofChildren?: number): void {
    const entry = this.#entries.get(id);
    const began = beginOf(own);
    const beganMs = entry !== undefined && beginOf(entry.own) === began ? entry.beganMs : Date.parse(began);
    if (entry === undefined) {
      this.#entries.set(id, { own, published: undefined, ofChildren, beganMs });
      this.#moved = true;
      if (!isLive(own)) this.#ended += 1;
      this.#link(own.parent_id, id);
    } else {
      this.#moved ||= entry.beganMs !== beganMs;
      this.#ended += Number(isLive(entry.own)) - Number(isLive(own));
      if (entry.own.parent_id !== own.parent_id) {
        this.#unlink(entry.own.parent_id, id);
        this.#link(own.parent_id, id);
      }
      entry.own = own;
      entry.ofChildren = ofChildren ?? entry.ofChildren;
      entry.beganMs = beganMs;
    }
    this.#mark(id);
  }

  #remove(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#mark(id);
    this.#entries.delete(id);
    this.#unlink(entry.own.parent_id, id);
    if (!isLive(entry.own)) this.#ended -= 1;
    this.#moved = true;
  }

  /** Removes the operations that ended first. */
  #evict(): void {
    const ended = [...this.#entries].filter(([, { own }]) => !isLive(own));
    ended.sort(([, { own: a }], [, { own: b }]) => Date.parse(a.ended_at ?? "") - Date.parse(b.ended_at ?? ""));
    for (const [id] of ended.slice(0, this.#ended - this.#capacity)) this.#remove(id);
    this.#evicted = true;
  }

  #link(parent: string | undefined, id: string): void {
    if (parent === undefined) return;
    const children = this.#children.get(parent);
    if (children === undefined) this.#children.set(parent, new Set([id]));
    else children.add(id);
  }

  #unlink(parent: string | undefined, id: string): void {
    if (parent === undefined) return;
    const children = this.#children.get(parent);
    if (children?.delete(id) && children.size === 0) this.#children.delete(parent);
    const entry = this.#entries.get(parent);
    if (entry !== undefined) entry.ofChildren = undefined;
    this.#mark(parent);
  }

  /** Notes that an operation has changed, and the ancestors whose progress is that of their children. */
  #mark(id: string): void {
    let next: string | undefined = id;
    for (let depth = 0; next !== undefined && depth <= MAX_DEPTH; depth += 1) {
      const entry: Entry | undefined = this.#entries.get(next);
      if (entry === undefined || (depth > 0 && entry.own.progress !== undefined)) return;
      this.#changed.add(next);
      next = entry.own.parent_id;
    }
  }

  #view(entry: Entry): Operation {
    const { own, published } = entry;
    if (own.progress !== undefined) return own;
    const id = own.operation_id;
    const progress = this.#children.has(id) ? this.#rollUp(id, MAX_DEPTH, new Set()) : entry.ofChildren;
    if (progress === undefined) return own;
    const view: Operation = { ...own, progress, progress_of: "children", indeterminate: undefined };
    return published !== undefined && isSame(published, view) ? published : view;
  }

  /** Returns the weighted mean of the children's progress; undefined where no child reports progress. */
  #rollUp(id: string, depth: number, above: Set<string>): number | undefined {
    const children = this.#children.get(id);
    if (children === undefined || depth === 0 || above.has(id)) return undefined;
    above.add(id);
    let [whole, done, known] = [0, 0, false];
    for (const child of children) {
      const own = this.#entries.get(child)?.own;
      if (own === undefined) continue;
      const progress = own.progress ?? this.#rollUp(child, depth - 1, above);
      const weight = weightOf(own);
      whole += weight;
      done += weight * (progress ?? 0);
      known ||= progress !== undefined;
    }
    above.delete(id);
    return whole > 0 && known ? done / whole : undefined;
  }
}

function beginOf({ queued_at, started_at, ended_at, heard_at }: Operation): string {
  return queued_at ?? started_at ?? ended_at ?? heard_at;
}

/** Returns the weight of a child in its parent's progress: `metadata.weight`, or 1. */
function weightOf({ metadata }: Operation): number {
  const weight = metadata?.["weight"];
  return typeof weight === "number" && weight >= 0 && weight <= MAX_WEIGHT ? weight : 1;
}

function isSame(one: Operation, other: Operation): boolean {
  const names = Object.keys({ ...one, ...other }) as (keyof Operation)[];
  return names.every((name) => Object.is(one[name], other[name]));
}

/** Returns the attempt that an event names; undefined if it names none. */
function namedAttempt({ data }: FoldedEvent): number | undefined {
  const attempt = (data as { attempt?: unknown } | null)?.attempt;
  return typeof attempt === "number" && attempt > 0 ? attempt : undefined;
}

/**
 * Returns whether an event is older than the operation, which came from the hub's list. The hub names the attempt of
 * every start but the first; events that name none are compared by their time, but only where they may be old: the
 * clocks of producers differ.
 */
function isStale(operation: Operation, event: FoldedEvent, mayBeOld: boolean): boolean {
  const named = namedAttempt(event);
  if (named !== undefined) return named < operation.attempt;
  const { queued_at, started_at, ended_at = "" } = operation;
  if (event.type === "operation:start" && !isLive(operation)) return mayBeOld && !isBefore(ended_at, event.timestamp);
  return mayBeOld && operation.attempt > 1 && isBefore(event.timestamp, queued_at ?? started_at ?? "");
}

/** Returns whether a time in RFC 3339, in UTC, is before another one, to the nanosecond. */
function isBefore(one: string, other: string): boolean {
  const nanoseconds = (time: string): string => (time.split(/[.Z]/)[1] ?? "").padEnd(9, "0");
  const [a, b] = [Date.parse(one), Date.parse(other)];
  return a < b || (a === b && nanoseconds(one) < nanoseconds(other));
}

/** The order of the list: groups, and the operations in them. It depends on nothing that ticks. */

import { isLive, lookOf, nameOf, producerOf } from "../../format/operation.ts";
import type { Row } from "../../format/row.ts";
import { toMillis } from "../../format/time.ts";
import type { Filter, Grouping, Sort } from "./filter.ts";

/** A line of the list: the head of a group, or an operation. */
export type Line =
  | { readonly kind: "group"; readonly key: string; readonly group: GroupHead }
  | { readonly kind: "row"; readonly key: string; readonly operationId: string };

/** The head of a group. */
export interface GroupHead {
  readonly id: string;
  readonly title: string;
  /** Operations of the group that are in the list, also those of a folded group. */
  readonly listed: number;
  readonly isFolded: boolean;
}

/** Names of the groups by state, which are also their ids. */
export const STATE_GROUPS = {
  attention: "Needs attention",
  running: "Running",
  queued: "Queued",
  ended: "Ended",
} as const;

/** What an order is made of. */
export interface OrderInput {
  readonly rows: Iterable<Row>;
  /** Ids of what needs attention, which is at the top. */
  readonly attention: ReadonlySet<string>;
  readonly filter: Filter;
  /** Ids of folded groups. */
  readonly folded: ReadonlySet<string>;
  /** Values of an order that was taken once: by id. */
  readonly snapshot?: ReadonlyMap<string, number> | undefined;
}

/** Returns the lines of the list. `rows` are those that match the filter. */
export function orderLines(input: OrderInput): readonly Line[] {
  const groups = new Map<string, { title: string; rows: Row[] }>();
  const add = (id: string, title: string, row: Row) => {
    let group = groups.get(id);
    if (group === undefined) {
      group = { title, rows: [] };
      groups.set(id, group);
    }
    group.rows.push(row);
  };
  for (const row of input.rows) {
    if (input.attention.has(row.operation_id)) add("attention", STATE_GROUPS.attention, row);
    else add(...groupOf(row, input.filter.group), row);
  }
  const lines: Line[] = [];
  for (const [id, { title, rows }] of [...groups].sort(compareGroups(input.filter.group))) {
    const isFolded = input.folded.has(id);
    if (id !== "all") {
      lines.push({ kind: "group", key: `group ${id}`, group: { id, title, listed: rows.length, isFolded } });
    }
    if (isFolded) continue;
    const compare = id === "attention" ? compareAttention : compareBy(input.filter.sort, input.snapshot);
    for (const { operation_id } of sortRows(rows, compare))
      lines.push({ kind: "row", key: operation_id, operationId: operation_id });
  }
  return lines;
}

function groupOf(row: Row, grouping: Grouping): readonly [string, string] {
  switch (grouping) {
    case "state":
      if (row.state === "running") return ["running", STATE_GROUPS.running];
      return row.state === "queued" ? ["queued", STATE_GROUPS.queued] : ["ended", STATE_GROUPS.ended];
    case "name":
      return [`name ${row.name}`, nameOf(row)];
    case "producer":
      return [`producer ${producerOf(row)}`, producerOf(row) || "No producer"];
    case "parent":
      return [`parent ${row.parent_id ?? ""}`, row.parent_id ?? "No parent"];
    case "none":
      return ["all", ""];
  }
}

type Group = readonly [string, { readonly title: string; readonly rows: readonly Row[] }];

const STATE_ORDER = ["attention", "running", "queued", "ended"];

function compareGroups(grouping: Grouping): (a: Group, b: Group) => number {
  return ([a, { title }], [b, { title: other }]) => {
    if (a === "attention" || b === "attention") return a === "attention" ? -1 : 1;
    if (grouping === "state") return STATE_ORDER.indexOf(a) - STATE_ORDER.indexOf(b);
    return compareText(title, other);
  };
}

const ATTENTION_ORDER = { failed: 0, away: 1, stalled: 2, running: 3, queued: 4, cancelled: 5, complete: 6 } as const;

type Compare = (a: Placed, b: Placed) => number;

/** A row with the time by which it is ordered: read once, because a sort compares each row many times. */
interface Placed {
  readonly row: Row;
  readonly time: number;
}

function sortRows(rows: readonly Row[], compare: Compare): readonly Row[] {
  const placed = rows.map((row) => ({ row, time: orderTime(row) }));
  return placed.sort(compare).map(({ row }) => row);
}

/** Ended ones by their end, others by when they began. */
function orderTime(row: Row): number {
  const time = isLive(row) ? (row.started_at ?? row.queued_at) : row.ended_at;
  return toMillis(time ?? row.heard_at) ?? 0;
}

const compareNewest: Compare = (a, b) => b.time - a.time || compareText(b.row.operation_id, a.row.operation_id);

const compareAttention: Compare = (a, b) =>
  ATTENTION_ORDER[lookOf(a.row)] - ATTENTION_ORDER[lookOf(b.row)] || compareNewest(a, b);

function compareBy(sort: Sort, snapshot: ReadonlyMap<string, number> | undefined): Compare {
  const taken = (each: Placed, unknown: number) => snapshot?.get(each.row.operation_id) ?? unknown;
  switch (sort) {
    case "started":
      return compareNewest;
    case "oldest":
      return (a, b) => compareNewest(b, a);
    case "ended":
      return (a, b) => Number(isLive(b.row)) - Number(isLive(a.row)) || compareNewest(a, b);
    case "name":
      return (a, b) => compareText(nameOf(a.row), nameOf(b.row)) || compareNewest(a, b);
    case "duration":
      return (a, b) => (b.row.duration_s ?? -1) - (a.row.duration_s ?? -1) || compareNewest(a, b);
    case "progress":
      return (a, b) => taken(b, -1) - taken(a, -1) || compareNewest(a, b);
    case "remaining":
      return (a, b) => taken(a, MAX_REMAINING_S) - taken(b, MAX_REMAINING_S) || compareNewest(a, b);
  }
}

/** Stands for an unknown remaining time, after all known ones. */
const MAX_REMAINING_S = Number.MAX_SAFE_INTEGER;

/** Values to sort by that tick, as they are now. */
export function takeSnapshot(rows: Iterable<Row>, sort: Sort): ReadonlyMap<string, number> {
  const taken = new Map<string, number>();
  for (const row of rows) {
    const now = sort === "progress" ? row.progress : row.estimate?.remaining_s;
    if (now !== undefined && isLive(row)) taken.set(row.operation_id, now);
  }
  return taken;
}

function compareText(a: string, b: string): number {
  return COLLATOR.compare(a, b);
}

const COLLATOR = new Intl.Collator("en", { numeric: true });

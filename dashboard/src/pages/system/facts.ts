/** What `GET /v1/system` says about the hub, and how a page says it. Pure. */

import type { Row } from "../../format/row.ts";
import { counted, formatSpan } from "../../format/span.ts";

/** Figures of the last hours, oldest first: one column for each. */
export type Samples = Readonly<Partial<Record<SeriesName, readonly (number | null)[]>>> & {
  readonly interval_s: number;
  /** Time of the newest, RFC 3339. */
  readonly until: string;
};

/** Figures that are charted. */
export const SERIES = [
  "events_per_s",
  "writes_per_s",
  "connections",
  "log_bytes",
  "live_operations",
  "catching_up",
  "waiting_bytes",
  "refused_per_s",
  "loop_delay_ms",
] as const;

/** Name of a figure, as the hub has it. */
export type SeriesName = (typeof SERIES)[number];

/** A producer, as the hub lists it. */
export interface ProducerFacts {
  readonly producer_id: string;
  readonly presence: "attached" | "away";
  readonly since?: string;
  readonly lease_s?: number;
  readonly operations: number;
}

/** A WebSocket or an event stream. */
export interface ClientFacts {
  readonly connection_id: string;
  readonly kind: "websocket" | "stream";
  readonly address?: string;
  readonly subject?: string;
  readonly producer_id?: string;
  readonly paths?: readonly string[];
  readonly path_count?: number;
  readonly pace_ms?: number;
  readonly state: "live" | "catching_up" | "slow" | "idle";
  readonly behind_events?: number;
  readonly waiting_bytes?: number;
  /** The worker that it is connected to, in a hub of several. */
  readonly source?: string;
}

/** One process of a hub of several; one that did not answer has no more than a name. */
export interface WorkerFacts {
  /** Its name, such as `worker-1`. */
  readonly source: string;
  readonly ready: boolean;
  /** Code of the error for which it is not ready. */
  readonly code?: string;
  readonly pid?: number;
  readonly uptime_s?: number;
  readonly connections?: number;
  /** Events that another worker has in its log, and this one not yet. */
  readonly behind_events?: number;
}

/** One machine of a hub of several. */
export interface NodeFacts {
  readonly name: string;
  readonly version: string;
  readonly ready: boolean;
  /** Whether it is the node that serves this page. */
  readonly here?: boolean;
  /** Whether it publishes what one node publishes for all. */
  readonly leads?: boolean;
  readonly silent_s: number;
  /** Entries of the journal that it had not stored at its last sign of life. */
  readonly behind_entries: number;
  readonly connections?: number;
}

/** What is counted of the connections. */
export type ConnectionCount =
  | "open"
  | "websockets"
  | "streams"
  | "opened"
  | "live"
  | "catching_up"
  | "waiting"
  | "lanes"
  | "waiting_bytes";

/** Answer of `GET /v1/system`; members that the hub does not know or may not show are absent. */
export interface SystemFacts {
  readonly version: string;
  readonly build?: string;
  readonly contract?: { readonly version: string; readonly hash: string };
  readonly started_at?: string;
  readonly uptime_s?: number;
  readonly ready?: boolean;
  readonly error?: { readonly code: string; readonly message: string; readonly hint?: string };
  readonly log?: {
    readonly kind?: "memory" | "sqlite";
    readonly events?: number;
    readonly bytes?: number;
    readonly head?: string;
    readonly first_at?: string;
    readonly trimmed_events?: number;
    readonly disk_bytes?: number;
    readonly disk_free_bytes?: number;
    readonly retention?: { readonly events?: number; readonly bytes?: number; readonly age_s?: number };
  };
  readonly connections?: Readonly<Partial<Record<ConnectionCount, number>>>;
  readonly events?: Readonly<Partial<Record<"accepted" | "refused" | "staged", number>>>;
  readonly clients?: readonly ClientFacts[];
  readonly producers?: readonly ProducerFacts[];
  readonly operations?: Readonly<Partial<Record<"live" | "queued" | "running" | "ended", number>>>;
  readonly samples?: Samples;
  readonly workers?: readonly WorkerFacts[];
  readonly nodes?: readonly NodeFacts[];
}

/** Points of a chart. */
export interface Point {
  readonly at: number;
  readonly values: Readonly<Partial<Record<SeriesName, number | null>>>;
}

/** Return the samples as points, oldest first; times in seconds since 1970. */
export function pointsOf(samples: Samples): Point[] {
  const until = Date.parse(samples.until) / 1000;
  const length = Math.max(0, ...SERIES.map((name) => samples[name]?.length ?? 0));
  if (!Number.isFinite(until) || !(samples.interval_s > 0)) return [];
  return Array.from({ length }, (_, index) => {
    const values: Partial<Record<SeriesName, number | null>> = {};
    for (const name of SERIES) {
      const column = samples[name];
      // Columns end at the same time: a shorter one began later.
      if (column !== undefined) values[name] = column[index - (length - column.length)] ?? null;
    }
    return { at: until - (length - 1 - index) * samples.interval_s, values };
  });
}

/** Return the figures of a `system:status` or `system:metrics` of the hub itself; null of another system's. */
export function figuresOf(type: string, data: Readonly<Record<string, unknown>>): Point["values"] | null {
  if (data["source"] !== "tidings") return null;
  const metrics = (data["metrics"] ?? {}) as Readonly<Record<string, unknown>>;
  const read = (value: unknown) => (typeof value === "number" && Number.isFinite(value) ? value : null);
  const names: readonly SeriesName[] =
    type === "system:status" ? ["connections", "catching_up", "log_bytes"] : ["events_per_s", "writes_per_s"];
  const values: Partial<Record<SeriesName, number | null>> = {};
  for (const name of names) values[name] = read(metrics[name]);
  if (type === "system:status") values.live_operations = read(data["active_operations"]);
  return values;
}

/** The state of the hub in a word. */
export function healthOf(facts: SystemFacts | undefined, status: string | undefined): "healthy" | "degraded" | "" {
  if (facts?.ready === false || facts?.error !== undefined) return "degraded";
  if (facts?.workers?.some(({ ready }) => !ready)) return "degraded";
  if (status !== undefined) return status === "healthy" ? "healthy" : "degraded";
  return facts === undefined ? "" : "healthy";
}

/** The state of a worker in words. */
export function describeWorker(worker: WorkerFacts): string {
  if (worker.ready) return "ready";
  if (worker.pid === undefined) return "does not answer";
  return worker.code ? `not ready: ${worker.code}` : "not ready";
}

/** A row of the table of producers. */
export interface ProducerRow {
  readonly producerId: string;
  readonly host: string;
  readonly presence: "attached" | "away";
  /** Names of the operations that it holds. */
  readonly holds: readonly string[];
  readonly leaseS: number | undefined;
  /** When it was heard last. */
  readonly heardAt: string | undefined;
}

/** Join what the hub says of producers with the operations that they hold; those that are away come first. */
export function producerRows(producers: readonly ProducerFacts[], rows: Iterable<Row>): ProducerRow[] {
  const held = new Map<string, Row[]>();
  for (const row of rows) {
    if (row.producer_id === undefined || (row.state !== "running" && row.state !== "queued")) continue;
    const same = held.get(row.producer_id);
    if (same === undefined) held.set(row.producer_id, [row]);
    else same.push(row);
  }
  const listed = producers.map((producer): ProducerRow => {
    const operations = held.get(producer.producer_id) ?? [];
    held.delete(producer.producer_id);
    return {
      producerId: producer.producer_id,
      host: operations.find((row) => row.host !== undefined)?.host ?? "",
      presence: producer.presence,
      holds: namesOf(operations),
      leaseS: producer.lease_s ?? operations[0]?.lease_s,
      heardAt: producer.presence === "away" ? (producer.since ?? newestOf(operations)) : newestOf(operations),
    };
  });
  for (const [producerId, operations] of held) {
    const [first] = operations;
    listed.push({
      producerId,
      host: operations.find((row) => row.host !== undefined)?.host ?? "",
      presence: first?.presence === "away" ? "away" : "attached",
      holds: namesOf(operations),
      leaseS: first?.lease_s,
      heardAt: first?.presence === "away" ? (first.away_since ?? newestOf(operations)) : newestOf(operations),
    });
  }
  const key = (row: ProducerRow) => `${row.presence === "away" ? 0 : 1} ${row.host} ${row.producerId}`;
  return listed.sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

function namesOf(rows: readonly Row[]): string[] {
  return [...new Set(rows.map((row) => row.name || row.operation_id))].sort();
}

function newestOf(rows: readonly Row[]): string | undefined {
  return rows
    .map((row) => row.heard_at)
    .sort()
    .at(-1);
}

/** The paths that a client reads, in a few words. */
export function describePaths({ paths = [], path_count: count = paths.length }: ClientFacts): string {
  // What is meant for everyone comes with every subscription.
  const own = paths.filter((path) => path !== "global");
  if (count === 0) return "nothing";
  const more = count - paths.length;
  return [...(own.length === 0 ? paths : own), more > 0 ? `and ${more} more` : ""].filter(Boolean).join(", ");
}

/** What the hub does, in a sentence without its alerts. */
export function describeWork(facts: SystemFacts): string {
  const live = facts.operations?.live ?? (facts.operations?.running ?? 0) + (facts.operations?.queued ?? 0);
  const operations = `${counted(live, "operation is", "operations are")} live`;
  const open = facts.connections?.open;
  return open === undefined ? operations : `${operations}, ${counted(open, "connection is", "connections are")} open`;
}

/** How long the log reaches back, given the time of now in milliseconds; "" where it is unknown. */
export function describeLogAge(firstAt: string | undefined, now: number): string {
  const first = firstAt === undefined ? Number.NaN : Date.parse(firstAt);
  return Number.isNaN(first) ? "" : `The log reaches back ${formatSpan(Math.max(0, (now - first) / 1000))}`;
}

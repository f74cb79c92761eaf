/** The time line of a trace: a lane for each operation and each kind of other events. Pure. */

import { type Tone, toneOf } from "./describe.ts";
import { asObject, type KeyFields, keyOf, type LoggedEvent } from "./filter.ts";

/** A stretch of a lane in which an attempt lived. Places are shares of the whole time, 0 to 1. */
export interface Span {
  readonly attempt: number;
  readonly state: "queued" | "running" | "complete" | "failed" | "cancelled";
  readonly from: number;
  readonly until: number;
}

/** Events of a lane at nearly the same time. */
export interface Mark {
  readonly at: number;
  readonly count: number;
  /** The loudest of its events. */
  readonly tone: Tone;
  /** The newest of its events. */
  readonly event: LoggedEvent;
}

/** One lane. */
export interface Lane {
  /** Id of the operation; "" for events of none. */
  readonly operationId: string;
  /** Name of the operation, or the type of the events. */
  readonly name: string;
  /** Number of its ancestors in this trace. */
  readonly depth: number;
  readonly spans: readonly Span[];
  readonly marks: readonly Mark[];
  readonly events: number;
}

/** The time line. */
export interface TraceView {
  readonly lanes: readonly Lane[];
  /** Times of the first and the last event, in milliseconds since 1970; of a live trace, the latter is now. */
  readonly from: number;
  readonly until: number;
  readonly operations: number;
  readonly events: number;
  /** Whether something of it has begun and not ended. */
  readonly isLive: boolean;
}

/** Marks closer than this share of the whole become one. */
const NEAR = 0.006;
/** Generations; parent ids come from clients and may form cycles. */
const MAX_DEPTH = 16;
const ENDS = {
  "operation:complete": "complete",
  "operation:failed": "failed",
  "operation:cancelled": "cancelled",
} as const;
/** Events that a span already shows. */
const SHOWN_BY_SPAN = new Set(["operation:start", "operation:progress", "operation:estimate", ...Object.keys(ENDS)]);

interface Draft {
  readonly operationId: string;
  name: string;
  parent: string;
  readonly spans: { attempt: number; state: Span["state"]; from: number; until: number | null }[];
  readonly events: LoggedEvent[];
}

/**
 * Lay out a trace.
 *
 * @param events - Its events in log order.
 * @param now - The hub's time in milliseconds, up to which live attempts reach; null for a trace that is not followed.
 */
export function layOutTrace(events: readonly LoggedEvent[], now: number | null, fields?: KeyFields): TraceView {
  const drafts = new Map<string, Draft>();
  let first = Number.POSITIVE_INFINITY;
  let last = Number.NEGATIVE_INFINITY;
  for (const event of events) {
    const at = timeOf(event);
    if (Number.isNaN(at)) continue;
    first = Math.min(first, at);
    last = Math.max(last, at);
    addTo(draftOf(drafts, event, fields), event, at);
  }
  const isLive = [...drafts.values()].some((draft) => draft.spans.some((span) => span.until === null));
  if (isLive && now !== null) last = Math.max(last, now);
  if (first > last) return { lanes: [], from: 0, until: 0, operations: 0, events: 0, isLive };
  const share = (at: number) => (last === first ? 0 : Math.min(1, Math.max(0, (at - first) / (last - first))));
  const lanes = ordered(drafts).map(({ draft, depth }) => toLane(draft, depth, share, last));
  const operations = lanes.filter((lane) => lane.operationId !== "").length;
  return { lanes, from: first, until: last, operations, events: events.length, isLive };
}

function timeOf(event: LoggedEvent): number {
  return Date.parse(event.timestamp);
}

/** Return the operation that an event is about; "" if it is about none. */
export function operationOf(event: LoggedEvent, fields?: KeyFields): string {
  const named = asObject(event.data)["operation_id"];
  if (typeof named === "string") return named;
  return event.type.startsWith("operation:") ? keyOf(event, fields) : "";
}

function draftOf(drafts: Map<string, Draft>, event: LoggedEvent, fields: KeyFields | undefined): Draft {
  const operationId = operationOf(event, fields);
  // An operation may have the name of a type as its id.
  const lane = operationId === "" ? `type ${event.type}` : `operation ${operationId}`;
  let draft = drafts.get(lane);
  if (draft === undefined) {
    draft = { operationId, name: operationId === "" ? event.type : "", parent: "", spans: [], events: [] };
    drafts.set(lane, draft);
  }
  return draft;
}

function addTo(draft: Draft, event: LoggedEvent, at: number): void {
  draft.events.push(event);
  if (draft.operationId === "") return;
  const data = asObject(event.data);
  const open = draft.spans.at(-1);
  const isOpen = open !== undefined && open.until === null;
  if (event.type === "operation:start") {
    if (typeof data["name"] === "string" && data["name"] !== "") draft.name = data["name"];
    if (typeof data["parent_id"] === "string") draft.parent = data["parent_id"];
    if (isOpen) open.until = at;
    const state = data["queued"] === true ? "queued" : "running";
    const attempt = typeof data["attempt"] === "number" ? data["attempt"] : Math.max(1, open?.attempt ?? 1);
    draft.spans.push({ attempt, state, from: at, until: null });
  } else if (event.type === "operation:progress" && (!isOpen || open.state === "queued")) {
    // A start that the hub no longer has, or a queued operation that began without another start.
    if (isOpen) open.until = at;
    draft.spans.push({ attempt: open?.attempt ?? 1, state: "running", from: at, until: null });
  } else if (event.type in ENDS) {
    const state = ENDS[event.type as keyof typeof ENDS];
    if (isOpen) {
      open.until = at;
      open.state = state;
    } else draft.spans.push({ attempt: open?.attempt ?? 1, state, from: at, until: at });
  }
}

/** Return the lanes, parents before their children; lanes without an operation come last. */
function ordered(drafts: ReadonlyMap<string, Draft>): { draft: Draft; depth: number }[] {
  const placed: { draft: Draft; depth: number }[] = [];
  const done = new Set<Draft>();
  const operations = [...drafts.values()].filter((draft) => draft.operationId !== "");
  const ids = new Set(operations.map((draft) => draft.operationId));
  const place = (draft: Draft, depth: number) => {
    if (done.has(draft)) return;
    done.add(draft);
    placed.push({ draft, depth });
    for (const each of operations) if (each.parent === draft.operationId) place(each, Math.min(depth + 1, MAX_DEPTH));
  };
  for (const draft of operations) if (!ids.has(draft.parent) || draft.parent === draft.operationId) place(draft, 0);
  for (const draft of operations) place(draft, 0); // what is left are parents in a circle
  for (const draft of drafts.values()) if (draft.operationId === "") place(draft, 0);
  return placed;
}

function toLane(draft: Draft, depth: number, share: (at: number) => number, last: number): Lane {
  const spans = draft.spans.map((span) => ({ ...span, from: share(span.from), until: share(span.until ?? last) }));
  const shown = draft.events.filter((event) => draft.operationId === "" || !SHOWN_BY_SPAN.has(event.type));
  return {
    operationId: draft.operationId,
    name: draft.name,
    depth,
    spans,
    marks: cluster(shown, share),
    events: draft.events.length,
  };
}

function cluster(events: readonly LoggedEvent[], share: (at: number) => number): Mark[] {
  const marks: { at: number; count: number; tone: Tone; event: LoggedEvent }[] = [];
  for (const event of [...events].sort((a, b) => timeOf(a) - timeOf(b))) {
    const at = share(timeOf(event));
    const tone = toneOf(event);
    const last = marks.at(-1);
    if (last === undefined || at - last.at > NEAR) marks.push({ at, count: 1, tone, event });
    else {
      last.count++;
      last.event = event;
      if (rank(tone) > rank(last.tone)) last.tone = tone;
    }
  }
  return marks;
}

function rank(tone: Tone): number {
  return tone === "failed" ? 2 : tone === "warn" ? 1 : 0;
}

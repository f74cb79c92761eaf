/** The list of operations: what it holds, in which order, and what waits while it is held. */

import { batch, computed, effect, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { TidingsError } from "tidings";
import { attention } from "../../attention.ts";
import type { Row } from "../../format/row.ts";
import { connection, hub, isStale } from "../../hub.ts";
import { liveRow, operations, structure } from "../../live.ts";
import { setting, textList } from "../../settings.ts";
import {
  type Filter,
  historyQuery,
  isFiltering,
  matches,
  readFilter,
  SNAPSHOT_SORTS,
  totalsQuery,
  writeFilter,
} from "./filter.ts";
import { countWaiting, describeWaiting, type HeldLines, hold, NO_LINES, showWaiting, takeOrder } from "./held-lines.ts";
import { type Line, orderLines, takeSnapshot } from "./order.ts";

/** Ended operations that are read at a time. */
const PAGE_SIZE = 200;
/** Milliseconds between two orders: many operations may begin and end in one second. */
const ORDER_MS = 250;
/** Milliseconds between two requests for the totals. */
const TOTALS_MS = 3_000;

/** Numbers of operations by state, from the hub. */
export interface Totals {
  /** All that match the filter. */
  readonly matching: number;
  readonly queued: number;
  readonly running: number;
  readonly complete: number;
  readonly failed: number;
  readonly cancelled: number;
  readonly stalled?: number;
  readonly away?: number;
}

interface ListAnswer {
  readonly operations: readonly Row[];
  readonly next?: string;
  readonly totals?: Totals;
}

/** Ended operations that were read in pages. */
interface History {
  readonly rows: readonly Row[];
  /** Cursor of the next page; undefined where there is none. */
  readonly next: string | undefined;
  readonly status: "loading" | "ready" | "failed";
  readonly error?: TidingsError | undefined;
}

const NO_HISTORY: History = { rows: [], next: undefined, status: "loading" };

/** What the list shows; set from the address. */
export const filter: Signal<Filter> = signal(readFilter(new URLSearchParams()));

/** Ids of groups that are folded. */
export const folded = setting("folded", textList);

/** Ended operations that were read. */
export const history: Signal<History> = signal(NO_HISTORY);

const totalsAnswer = signal<Totals | undefined>(undefined);

/** Numbers of operations by state for the filter; undefined until the hub has counted. */
export const totals: ReadonlySignal<Totals | undefined> = totalsAnswer;

/** When the values were taken by which the list is sorted, in milliseconds since 1970 by the hub's clock. */
export const sortedAt = signal<number | undefined>(undefined);

let sortValues: ReadonlyMap<string, number> | undefined;

const held = signal<HeldLines>(NO_LINES);

/** The lines that are shown. */
export const lines: ReadonlySignal<readonly Line[]> = computed(() => held.value.shown);

/** What waits while the list is held: `3 new · reorder`; empty if nothing does. */
export const waiting: ReadonlySignal<string> = computed(() => describeWaiting(countWaiting(held.value)));

/** Holds the list under the hand, or lets it go. */
export function holdLines(isHeld: boolean): void {
  held.value = hold(held.peek(), isHeld);
}

/** Shows what waits. */
export function showWaitingLines(): void {
  held.value = showWaiting(held.peek());
}

let historyRows = new Map<string, Row>();

/** Values of rows that neither the store nor a page holds: old ones that need attention, and those of a held list. */
const lastRows = new Map<string, Row>();

/** An operation of the list, with its newest values. Reads signals. */
export function rowOf(operationId: string): Row | undefined {
  const live = liveRow(operationId);
  const read = history.value && historyRows.get(operationId);
  return newer(live, read) ?? lastRows.get(operationId);
}

/** The one with the later attempt; of one attempt the live one, with what only the list of the hub has. */
function newer(live: Row | undefined, read: Row | undefined): Row | undefined {
  if (live === undefined || read === undefined) return live ?? read;
  return read.attempt > live.attempt ? read : live;
}

function allRows(): readonly Row[] {
  const live = operations.peek().operations;
  const rows = new Map<string, Row>(historyRows);
  for (const row of live) {
    const known = newer(row, rows.get(row.operation_id));
    if (known !== undefined) rows.set(row.operation_id, known);
  }
  for (const row of attention.peek()) if (!rows.has(row.operation_id)) rows.set(row.operation_id, row);
  return [...rows.values()];
}

function order(): void {
  orderTimer = undefined;
  orderedAt = performance.now();
  const current = filter.peek();
  const rows = allRows().filter((row) => matches(row, current));
  if (SNAPSHOT_SORTS.has(current.sort) && sortValues === undefined) {
    sortValues = takeSnapshot(rows, current.sort);
    sortedAt.value = hub.clock.now();
  }
  const ids = new Set(attention.peek().map((row) => row.operation_id));
  const wanted = orderLines({
    rows,
    attention: ids,
    filter: current,
    folded: new Set(folded.peek()),
    snapshot: sortValues,
  });
  keepShownRows();
  held.value = takeOrder(held.peek(), wanted);
}

/** Keeps the values of rows that are listed although they have left everything else. */
function keepShownRows(): void {
  const kept = held.peek().isHeld ? held.peek().shown.map((line) => [line.key, rowOf(line.key)] as const) : [];
  lastRows.clear();
  for (const row of attention.peek()) lastRows.set(row.operation_id, row);
  for (const [key, row] of kept) if (row !== undefined) lastRows.set(key, row);
}

let orderTimer: ReturnType<typeof setTimeout> | undefined;
let orderedAt = Number.NEGATIVE_INFINITY;

/** Orders now, or as soon as the last order is old enough. */
function scheduleOrder(): void {
  if (orderTimer !== undefined) return;
  const wait = orderedAt + ORDER_MS - performance.now();
  if (wait <= 0) order();
  else orderTimer = setTimeout(order, wait);
}

/** Sorts again by the values of now. */
export function sortAgain(): void {
  sortValues = undefined;
  orderNow();
}

/** Orders at once, also a held list: the reader has asked for it. */
export function orderNow(): void {
  clearTimeout(orderTimer);
  order();
  showWaitingLines();
}

let reading: AbortController | undefined;

async function readHistory(after?: string): Promise<void> {
  const query = historyQuery(filter.peek());
  reading?.abort();
  const mine = new AbortController();
  reading = mine;
  if (query === undefined) {
    setHistory({ rows: [], next: undefined, status: "ready" });
    return;
  }
  try {
    const answer = await hub.request<ListAnswer>("v1/operations", {
      query: { ...query, limit: PAGE_SIZE, after },
      signal: mine.signal,
    });
    if (mine.signal.aborted) return;
    const before = after === undefined ? [] : history.peek().rows;
    setHistory({ rows: [...before, ...answer.operations], next: answer.next, status: "ready" });
  } catch (error) {
    if (mine.signal.aborted) return;
    if (!(error instanceof TidingsError)) throw error;
    history.value = { ...history.peek(), status: "failed", error };
  }
}

function setHistory(next: History): void {
  historyRows = new Map(next.rows.map((row) => [row.operation_id, row]));
  history.value = next;
}

/** Reads the next page of ended operations. */
export function readMore(): void {
  const { next, status } = history.peek();
  if (next === undefined || status === "loading") return;
  history.value = { ...history.peek(), status: "loading" };
  void readHistory(next);
}

/** Reads the ended operations again, after an error. */
export function readAgain(): void {
  history.value = { ...history.peek(), status: "loading", error: undefined };
  void readHistory();
  void countAgain();
}

let countedAt = Number.NEGATIVE_INFINITY;
let countTimer: ReturnType<typeof setTimeout> | undefined;
let counting: AbortController | undefined;

async function countAgain(): Promise<void> {
  clearTimeout(countTimer);
  countTimer = undefined;
  countedAt = performance.now();
  counting?.abort();
  const mine = new AbortController();
  counting = mine;
  try {
    const answer = await hub.request<ListAnswer>("v1/operations", {
      query: totalsQuery(filter.peek()),
      signal: mine.signal,
    });
    if (!mine.signal.aborted) totalsAnswer.value = answer.totals;
  } catch (error) {
    if (mine.signal.aborted) return;
    // The numbers of before stay; the link and the list show what is wrong.
    if (!(error instanceof TidingsError)) throw error;
  }
}

function scheduleCount(): void {
  if (countTimer !== undefined || document.visibilityState === "hidden") return;
  const wait = countedAt + TOTALS_MS - performance.now();
  countTimer = setTimeout(() => void countAgain(), Math.max(0, wait));
}

function keyOf(current: Filter): string {
  const { sort, group: _group, columns: _columns, ...rest } = writeFilter(current);
  return JSON.stringify([rest, sort]);
}

let asked = "";

/** Shows what the query of the address says. */
export function showQuery(query: URLSearchParams): void {
  const next = readFilter(query);
  const key = keyOf(next);
  batch(() => {
    filter.value = next;
    if (key !== asked) {
      asked = key;
      sortValues = undefined;
      sortedAt.value = undefined;
      history.value = { ...history.peek(), status: "loading", error: undefined };
      void readHistory();
      void countAgain();
    }
  });
  if (operations.peek().status !== "loading") orderNow();
}

/** Follows the store while the list is shown. Returns a function that ends it. */
export function followOperations(): () => void {
  let wasLive = connection.peek().state === "live";
  const stops = [
    effect(() => {
      void structure.value;
      void attention.value;
      void history.value;
      void folded.value;
      scheduleOrder();
    }),
    effect(() => {
      void structure.value;
      scheduleCount();
    }),
    effect(() => {
      // The events that follow do not include operations that ended in the meantime.
      const isLive = connection.value.state === "live";
      if (isStale.value) wasLost = true;
      // Nor could they be read while the hub was opening its log.
      else if (isLive && (wasLost || (!wasLive && history.peek().error !== undefined))) {
        wasLost = false;
        readAgain();
      }
      wasLive = isLive;
    }),
  ];
  const textTimer = setInterval(() => {
    if (filter.peek().text.trim() !== "") scheduleOrder();
  }, TEXT_MS);
  document.addEventListener("visibilitychange", scheduleCount);
  return () => {
    for (const stop of stops) stop();
    clearInterval(textTimer);
    clearTimeout(orderTimer);
    clearTimeout(countTimer);
    orderTimer = countTimer = undefined;
    document.removeEventListener("visibilitychange", scheduleCount);
  };
}

/** Milliseconds after which a list that is searched is searched again: messages change without moving rows. */
const TEXT_MS = 1_000;

let wasLost = false;

/** Why the list shows nothing, or that it shows something. */
export type ListState = "rows" | "loading" | "nothing-yet" | "nothing-matches" | "failed";

/** What the list shows. */
export const listState: ReadonlySignal<ListState> = computed(() => {
  if (lines.value.length > 0) return "rows";
  const live = operations.value.status;
  const read = history.value.status;
  if (live === "failed" || read === "failed") return "failed";
  if (live === "loading" || read === "loading") return "loading";
  return isFiltering(filter.value) ? "nothing-matches" : "nothing-yet";
});

/** The error for which nothing is shown. */
export const listError: ReadonlySignal<TidingsError | undefined> = computed(
  () => operations.value.error ?? history.value.error,
);

/** The operations that are chosen, to cancel several of them, and what came of it. */

import { computed, type ReadonlySignal, signal } from "@preact/signals";
import { TidingsError } from "tidings";
import { announce } from "../../announcer.ts";
import { askingWords, CANCEL_TIMEOUT_S, type OutcomeWords, outcomeWords } from "../../format/cancel.ts";
import { isLive, nameOf, producerOf } from "../../format/operation.ts";
import type { Row } from "../../format/row.ts";
import { plain } from "../../format/text.ts";
import { hub } from "../../hub.ts";

/** Requests that wait for an outcome at one time; a connection of the hub takes a hundred. */
const MAX_ASKED = 50;

/** Whether rows have boxes to choose them. */
export const isSelecting = signal(false);

/** Id of the operation that a key has asked to cancel; its row opens the question. */
export const askedToCancel = signal<string | undefined>(undefined);

const chosenIds = signal<ReadonlySet<string>>(new Set());

/** Ids of the chosen operations. A choice belongs to the operation and not to its place. */
export const chosen: ReadonlySignal<ReadonlySet<string>> = chosenIds;

/** Chooses an operation, or leaves it. */
export function toggleChosen(operationId: string): void {
  const next = new Set(chosenIds.peek());
  if (!next.delete(operationId)) next.add(operationId);
  chosenIds.value = next;
  isSelecting.value = true;
}

/** Chooses all of the given operations too. */
export function choose(operationIds: readonly string[]): void {
  chosenIds.value = new Set([...chosenIds.peek(), ...operationIds]);
}

/** Leaves all. */
export function stopSelecting(): void {
  isSelecting.value = false;
  chosenIds.value = new Set();
}

/** What came of a request to cancel, or that it is under way. */
export interface Cancelling extends OutcomeWords {
  readonly operationId: string;
  readonly name: string;
  readonly isDone: boolean;
}

const asked = signal<ReadonlyMap<string, Cancelling>>(new Map());

/** Requests of this page, by operation: they stay until the page is left. */
export const cancellings: ReadonlySignal<ReadonlyMap<string, Cancelling>> = asked;

/** The outcomes in one sentence: `5 asked: 3 cancelled, 1 goes on, 1 waits`. */
export const outcomesSentence: ReadonlySignal<string> = computed(() => describeOutcomes([...asked.value.values()]));

/** Counts outcomes in one sentence; empty without any. */
export function describeOutcomes(all: readonly Cancelling[]): string {
  if (all.length === 0) return "";
  const count = (is: (each: Cancelling) => boolean, words: string) => {
    const number = all.filter(is).length;
    return number === 0 ? "" : `${number} ${words}`;
  };
  const parts = [
    count((each) => !each.isDone, "waiting for an answer"),
    count((each) => each.isDone && each.look === "cancelled", "cancelled"),
    count((each) => each.isDone && (each.look === "complete" || each.look === "failed"), "had ended first"),
    count((each) => each.isDone && each.look === "stalled", "stopping"),
    count((each) => each.isDone && (each.look === "running" || each.look === "away"), "not cancelled"),
  ];
  return `${all.length} asked: ${parts.filter(Boolean).join(", ")}`;
}

/** Forgets the outcomes. */
export function clearOutcomes(): void {
  asked.value = new Map([...asked.peek()].filter(([, each]) => !each.isDone));
}

/** Asks to cancel operations, and shows what comes of each. Those that have ended are left out. */
export async function cancelAll(rows: readonly Row[], reason: string): Promise<void> {
  const waiting = rows.filter(isLive);
  for (const row of waiting) note(row, askingWords(producerOf(row)), false);
  const workers = Array.from({ length: Math.min(MAX_ASKED, waiting.length) }, async () => {
    for (let row = waiting.shift(); row !== undefined; row = waiting.shift()) await cancelOne(row, reason);
  });
  await Promise.all(workers);
  announce(outcomesSentence.peek());
}

async function cancelOne(row: Row, reason: string): Promise<void> {
  try {
    const options = { timeoutS: CANCEL_TIMEOUT_S, ...(reason === "" ? {} : { reason }) };
    note(row, outcomeWords(await hub.cancel(row.operation_id, options), producerOf(row)), true);
  } catch (error) {
    if (!(error instanceof TidingsError)) throw error;
    note(row, { look: "away", text: `Not asked: ${plain(error.message)}` }, true);
  }
}

function note(row: Row, words: OutcomeWords, isDone: boolean): void {
  const next = new Map(asked.peek());
  next.set(row.operation_id, { ...words, operationId: row.operation_id, name: nameOf(row), isDone });
  asked.value = next;
}

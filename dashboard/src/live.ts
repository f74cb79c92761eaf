/** Operations as their events tell. Values change at most once per frame; the structure changes less often. */

import { computed, type ReadonlySignal } from "@preact/signals";
import type { OperationsSnapshot } from "tidings";
import { lookOf } from "./format/operation.ts";
import type { Row } from "./format/row.ts";
import { fromStore, hub } from "./hub.ts";

/** What the store of operations knows: the newest thousand, and all that run or wait. */
export const operations: ReadonlySignal<OperationsSnapshot> = fromStore(hub.operations);

let known: OperationsSnapshot | undefined;
let version = 0;

/**
 * Changes when operations come, go, or change what decides on their place: state, trouble, attempt or name. Progress
 * does not change it.
 */
export const structure: ReadonlySignal<number> = computed(() => {
  const next = operations.value;
  if (known === undefined || isRestructured(known, next)) version += 1;
  known = next;
  return version;
});

/** Whether operations came, went, or changed what decides on their place. */
export function isRestructured(before: OperationsSnapshot, after: OperationsSnapshot): boolean {
  if (before.ids !== after.ids || before.status !== after.status) return true;
  return after.operations.some((row, index) => {
    const old = before.operations[index];
    return old !== row && (old === undefined || placeOf(old) !== placeOf(row));
  });
}

function placeOf(row: Row): string {
  return `${lookOf(row)} ${row.attempt} ${row.started_at ?? ""} ${row.name}`;
}

/** An operation as it is now; undefined if the store does not know it. Reads a signal. */
export function liveRow(operationId: string): Row | undefined {
  void operations.value;
  return hub.operations.operation(operationId).getSnapshot() ?? undefined;
}

/**
 * Operations by id. Rebuilt with each change of a value: for pages that show few of them, not for long lists.
 */
export const liveRows: ReadonlySignal<ReadonlyMap<string, Row>> = computed(
  () => new Map(operations.value.operations.map((row) => [row.operation_id, row])),
);

/** What needs attention now, for the list, the count at the top and the title of the tab; and what the reader has seen. */

import { computed, effect, type ReadonlySignal, signal } from "@preact/signals";
import { TidingsError } from "tidings";
import { addSeen, removeSeen, troubledIn, troubleKey, unseenOf } from "./attention-model.ts";
import type { Row } from "./format/row.ts";
import { connection, hub } from "./hub.ts";
import { operations, structure } from "./live.ts";
import { setting, textList } from "./settings.ts";

/** Failures of which the hub is asked: more than anyone reads. */
const LIMIT = 200;

/** What the hub said needs attention, when the link was made: also failures that the live events no longer hold. */
const fromHub = signal<readonly Row[]>([]);

const seen = setting("seen", textList);

const troubled = computed(() => {
  const known = new Map(fromHub.value.map((row) => [row.operation_id, row]));
  void structure.value;
  for (const row of operations.peek().operations) known.set(row.operation_id, row);
  return troubledIn(known.values());
});

/** Operations that need attention. */
export const attention: ReadonlySignal<readonly Row[]> = computed(() => unseenOf(troubled.value, seen.value));

/** How many operations need attention. */
export const attentionCount: ReadonlySignal<number> = computed(() => attention.value.length);

/** Marks operations as seen. Returns a function that undoes it. */
export function markSeen(rows: readonly Row[]): () => void {
  const added = rows.map(troubleKey).filter((key) => !seen.peek().includes(key));
  if (added.length > 0) seen.value = addSeen(seen.peek(), added);
  return () => {
    seen.value = removeSeen(seen.peek(), added);
  };
}

/** Marks a failure as seen, because the reader has opened it. */
export function markOpened(row: Row): void {
  if (row.state === "failed") markSeen([row]);
}

/** Asks the hub what needs attention whenever the link is made. */
export function watchAttention(): void {
  let wasLive = false;
  effect(() => {
    const isLive = connection.value.state === "live";
    if (isLive && !wasLive) void load();
    wasLive = isLive;
  });
}

async function load(): Promise<void> {
  try {
    const query = { attention: true, limit: LIMIT };
    const { operations } = await hub.request<{ operations: readonly Row[] }>("v1/operations", { query });
    fromHub.value = operations;
  } catch (error) {
    // Without the right to read, or without a link, nothing needs attention here.
    if (!(error instanceof TidingsError)) throw error;
  }
}

/** One operation of the live store, as a signal. */

import { computed, type ReadonlySignal } from "@preact/signals";
import type { Row } from "../../format/row.ts";
import { fromStore, hub } from "../../hub.ts";

/** The live row of an operation; undefined where the store does not know it. It follows the hub while it is read. */
export function liveRow(id: string): ReadonlySignal<Row | undefined> {
  const known = fromStore(hub.operations.operation(id));
  // The contract lets a writer send null for what it leaves out; the pages treat both alike.
  return computed(() => (known.value ?? undefined) as Row | undefined);
}

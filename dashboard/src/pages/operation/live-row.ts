/** One operation of the live store, as a signal. */

import { computed, type ReadonlySignal } from "@preact/signals";
import type { Row } from "../../format/row.ts";
import { fromStore, hub } from "../../hub.ts";

/** The live row of an operation; undefined where the store does not know it. It follows the hub while it is read. */
export function liveRow(id: string): ReadonlySignal<Row | undefined> {
  const known = fromStore(hub.operations.operation(id));
  return computed(() => known.value ?? undefined);
}

/** One operation of the live events, as a signal. */

import { computed, type ReadonlySignal } from "@preact/signals";
import type { Row } from "../../format/row.ts";
import { liveRows } from "../../live.ts";

/** The live row of an operation; undefined where the live events do not know it. */
export function liveRow(id: string): ReadonlySignal<Row | undefined> {
  return computed(() => liveRows.value.get(id));
}

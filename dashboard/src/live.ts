/** Operations as their events tell, at most once per frame. */

import { type ReadonlySignal, signal } from "@preact/signals";
import type { Row } from "./format/row.ts";

const rows = signal<ReadonlyMap<string, Row>>(new Map());

/** All operations that the live events know: those that run or wait, and those that ended lately. */
export const liveRows: ReadonlySignal<ReadonlyMap<string, Row>> = rows;

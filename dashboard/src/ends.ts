/** Tells screen readers, on every page, of operations that end or come into trouble. Progress is never told. */

import { effect } from "@preact/signals";
import { announce } from "./announcer.ts";
import { looksOf, sentencesFor } from "./ends-model.ts";
import type { Look } from "./format/operation.ts";
import { operations, structure } from "./live.ts";

/** Announces ends and troubles from now on. */
export function announceEnds(): void {
  let known: ReadonlyMap<string, Look> = new Map();
  effect(() => {
    void structure.value;
    const snapshot = operations.peek();
    if (snapshot.status !== "ready") return;
    for (const sentence of sentencesFor(known, snapshot.operations)) announce(sentence);
    known = looksOf(snapshot.operations);
  });
}

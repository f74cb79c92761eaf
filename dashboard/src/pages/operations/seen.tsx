/** Undoing that something was marked as seen. */

import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { announce } from "../../announcer.ts";
import { counted } from "../../format/span.ts";

const undo = signal<{ readonly run: () => void; readonly count: number } | undefined>(undefined);

/** Milliseconds for which the offer stands. */
const OFFER_MS = 10_000;

let timer: ReturnType<typeof setTimeout> | undefined;

/** Offers to undo what has just been marked as seen. */
export function offerUndo(run: () => void, count: number): void {
  clearTimeout(timer);
  undo.value = { run, count };
  announce(`${counted(count, "operation")} marked as seen`);
  timer = setTimeout(() => {
    undo.value = undefined;
  }, OFFER_MS);
}

/** Undoes the last marking, if that is still offered. Returns whether it was. */
export function undoSeen(): boolean {
  const offered = undo.peek();
  clearTimeout(timer);
  undo.value = undefined;
  offered?.run();
  return offered !== undefined;
}

/** The offer, at the bottom of the window. */
export function UndoSeen(): JSX.Element | null {
  const offered = undo.value;
  if (offered === undefined) return null;
  return (
    <div class="toast">
      <span>{counted(offered.count, "operation")} marked as seen</span>
      <button type="button" onClick={undoSeen}>
        Undo
      </button>
    </div>
  );
}

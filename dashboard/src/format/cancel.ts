/** What came of asking to cancel an operation, in the words of the design guide. */

import type { CancelOutcome } from "tidings";
import type { Look } from "./operation.ts";
import { plain } from "./text.ts";

/** Seconds that the hub waits for an answer. */
export const CANCEL_TIMEOUT_S = 10;

/** An outcome: its shape and its words. */
export interface OutcomeWords {
  readonly look: Look;
  readonly text: string;
}

/** Words while the producer is asked. */
export function askingWords(producer: string): OutcomeWords {
  return { look: "running", text: `Asking ${producer || "its producer"} to end it, for at most ${CANCEL_TIMEOUT_S} s` };
}

/** Words of an outcome. */
export function outcomeWords({ outcome, state, reason }: CancelOutcome, producer: string): OutcomeWords {
  const who = producer || "its producer";
  switch (outcome) {
    case "cancelled":
      return { look: "cancelled", text: "Cancelled" };
    case "finished_first":
      return { look: state === "failed" ? "failed" : "complete", text: `It had ended first: ${state}` };
    case "pending":
      return { look: "stalled", text: `It is stopping, and has not ended within ${CANCEL_TIMEOUT_S} s` };
    case "refused":
      return { look: "running", text: `It goes on: ${who} refuses${reason ? `, “${plain(reason)}”` : ""}` };
    case "unreachable":
      return { look: "away", text: "It goes on, for all that is known: no producer to ask" };
  }
}

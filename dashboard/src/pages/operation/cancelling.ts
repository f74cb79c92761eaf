/**
 * How far the cancellation of an operation is: asked, stopping, and how it came out. The hub's word on a pending
 * request is part of the operation, so that every tab shows the same, also after it was loaded again.
 */

import type { Row } from "../../format/row.ts";

/** The hub's answer to a request: docs/protocol/operations.md, "Outcomes". */
export interface CancelAnswer {
  readonly outcome: "cancelled" | "finished_first" | "refused" | "pending" | "unreachable";
  readonly state: string;
  readonly attempt: number;
  readonly reason?: string;
  readonly children?: readonly CancelAnswer[];
}

/** What this page knows of its own request. */
export type OwnRequest =
  | { readonly kind: "none" }
  | { readonly kind: "sent"; readonly attempt: number }
  | { readonly kind: "answered"; readonly answer: CancelAnswer }
  | { readonly kind: "error"; readonly message: string; readonly hint: string };

export type Cancelling =
  /** Nothing was asked, or it is over. */
  | { readonly kind: "none" }
  /** The hub has not confirmed the request yet. */
  | { readonly kind: "asked" }
  /** The request waits for the end of the operation. */
  | { readonly kind: "stopping"; readonly by: string; readonly since: string | undefined; readonly note: StoppingNote }
  | { readonly kind: "refused"; readonly reason: string }
  | { readonly kind: "no-answer" }
  | { readonly kind: "ended"; readonly state: string }
  | { readonly kind: "error"; readonly message: string; readonly hint: string };

/** Why stopping takes longer: the producer agreed and goes on stopping, is away, or does not answer. */
export type StoppingNote = "" | "agreed" | "away" | "silent";

export const NO_REQUEST: OwnRequest = { kind: "none" };

/**
 * The cancellation of an operation now.
 *
 * @param wasRequested - Whether this page saw a pending request of the running attempt before.
 */
export function cancellingOf(operation: Row, own: OwnRequest, wasRequested: boolean): Cancelling {
  const isLive = operation.state === "running" || operation.state === "queued";
  if (!isLive) {
    return own.kind === "none" && !wasRequested ? { kind: "none" } : { kind: "ended", state: operation.state };
  }
  const answer = own.kind === "answered" && own.answer.attempt === operation.attempt ? own.answer : undefined;
  if (operation.cancel_requested_at !== undefined) {
    return {
      kind: "stopping",
      by: operation.cancelled_by ?? "",
      since: operation.cancel_requested_at,
      note: operation.presence === "away" ? "away" : noteOf(answer),
    };
  }
  if (own.kind === "sent") return own.attempt === operation.attempt ? { kind: "asked" } : { kind: "none" };
  if (own.kind === "error") return own;
  if (answer !== undefined) {
    if (answer.outcome === "refused") return { kind: "refused", reason: answer.reason ?? "" };
    if (answer.outcome === "unreachable") return { kind: "no-answer" };
    // The end is on its way to this page.
    return { kind: "stopping", by: "", since: undefined, note: noteOf(answer) };
  }
  // A request that is gone while the operation lives was refused: another tab made it, and has the reason.
  return wasRequested ? { kind: "refused", reason: "" } : { kind: "none" };
}

function noteOf(answer: CancelAnswer | undefined): StoppingNote {
  if (answer?.outcome === "pending") return "agreed";
  return answer?.outcome === "unreachable" ? "silent" : "";
}

/** What stands where the button was; empty for nothing. */
export function cancellingText(state: Cancelling, name: string): string {
  switch (state.kind) {
    case "none":
      return "";
    case "asked":
      return "Asked to stop";
    case "stopping": {
      const by = state.by ? `Stopping, asked by ${state.by}` : "Stopping, as requested";
      if (state.note === "away") return `${by}; its producer is away, and is asked again when it comes back`;
      if (state.note === "silent") return `${by}; its producer has not answered yet`;
      return state.note === "agreed" ? `${by}; it agreed, and has not ended yet` : by;
    }
    case "refused":
      return state.reason
        ? `${name} goes on: its producer refused: ${state.reason}`
        : `${name} goes on: its producer refused`;
    case "no-answer":
      return `No answer: no producer could be asked, and ${name} goes on`;
    case "ended":
      return state.state === "cancelled" ? "" : `It ended before it could be cancelled: ${state.state}`;
    case "error":
      return `Not cancelled: ${state.message}`;
  }
}

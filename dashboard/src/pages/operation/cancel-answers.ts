/** Answers to requests to cancel, kept by the browser: other tabs show them, and a page that was loaded again. Pure. */

import type { Row } from "../../format/row.ts";
import { type CancelAnswer, NO_REQUEST, type OwnRequest } from "./cancelling.ts";

/** The answer to the newest request for an operation. */
export interface KeptAnswer extends Pick<CancelAnswer, "outcome" | "state" | "attempt" | "reason"> {
  readonly id: string;
}

/** Answers that are kept. */
const MAX_ANSWERS = 50;
const OUTCOMES: ReadonlySet<unknown> = new Set(["cancelled", "finished_first", "refused", "pending", "unreachable"]);

/** Reads kept answers from JSON; what is not one is left out. */
export function readAnswers(json: unknown): readonly KeptAnswer[] {
  if (!Array.isArray(json)) return [];
  const isAnswer = (each: Partial<KeptAnswer> | null): each is KeptAnswer =>
    typeof each?.id === "string" &&
    OUTCOMES.has(each.outcome) &&
    typeof each.state === "string" &&
    typeof each.attempt === "number" &&
    (each.reason === undefined || typeof each.reason === "string");
  return json.filter(isAnswer).slice(-MAX_ANSWERS);
}

/** Adds an answer, in place of an earlier one for the same operation. */
export function remember(kept: readonly KeptAnswer[], id: string, answer: CancelAnswer): readonly KeptAnswer[] {
  const { outcome, state, attempt, reason } = answer;
  const added: KeptAnswer = { id, outcome, state, attempt, ...(reason === undefined ? {} : { reason }) };
  return [...kept.filter((each) => each.id !== id), added].slice(-MAX_ANSWERS);
}

/** The answer for the present attempt of an operation, as if this page had asked; only one that is worth a word. */
export function recall(kept: readonly KeptAnswer[], operation: Row): OwnRequest {
  const answer = kept.find((each) => each.id === operation.operation_id && each.attempt === operation.attempt);
  const isLive = operation.state === "running" || operation.state === "queued";
  // Of a request that is under way, the operation itself says all there is to say.
  const isTelling = isLive
    ? answer?.outcome === "refused" || answer?.outcome === "unreachable"
    : answer?.outcome === "finished_first";
  return answer !== undefined && isTelling ? { kind: "answered", answer } : NO_REQUEST;
}

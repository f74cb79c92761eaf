/**
 * One sentence about an operation: what it is doing, and whether there is a problem. The words are those of
 * `tidings show`; an error has its own place below, so the sentence of a failure ends before it.
 */

import type { Row } from "../../format/row.ts";
import { formatAgo, formatRemaining, formatSpan, ordinal } from "../../format/span.ts";
import { plain } from "../../format/text.ts";
import { ageSeconds } from "../../format/time.ts";
import type { Usual } from "./detail.ts";

/** Time without progress, in seconds, that is reported even if the hub cannot judge whether the operation stalls. */
const IDLE_S = 300;
/** Time without an event, in seconds, after which an operation without a holder may be lost. */
const SILENT_S = 300;
/** Characters of one text that belong into a sentence. */
const MAX_CHARS = 500;

const HEAD = /^(?:queued for \d[\d,]* \w+|running(?:, or lost)?|\w+(?: just now| \d[\d,]* \w+ ago)?)/;

/** A sentence in two parts: `head` says the most, and stands out. */
export interface Sentence {
  readonly head: string;
  readonly rest: string;
}

export type Summarized = Row & { readonly usual?: Usual };

/**
 * The sentence.
 *
 * @param now - Current time by the hub's clock, milliseconds since 1970.
 */
export function sentenceOf(operation: Summarized, now: number): Sentence {
  const line = summarize(operation, now);
  const head = HEAD.exec(line)?.[0] ?? "";
  return { head: capitalize(head), rest: line.slice(head.length) };
}

/** The line that `tidings show` prints, without the error of a failure. */
export function summarize(operation: Summarized, now: number): string {
  if (operation.state === "queued") return queued(operation, now);
  return operation.state === "running" ? running(operation, now) : ended(operation, now);
}

/** More that helps to judge an unsuccessful end: `Usually takes 5 min; last success 24 h ago.` */
export function afterwordOf(operation: Summarized, now: number): string {
  if (operation.state !== "failed" && operation.state !== "cancelled") return "";
  const usual = usualOf(operation);
  const success = ageSeconds(operation.usual?.last_success_at, now);
  const parts = [
    usual ? `usually takes ${usual}` : "",
    success === undefined ? "" : `last success ${formatAgo(success)}`,
  ].filter(Boolean);
  return parts.length === 0 ? "" : `${capitalize(parts.join("; "))}.`;
}

function queued(operation: Row, now: number): string {
  const waited = ageSeconds(operation.queued_at ?? operation.heard_at, now) ?? 0;
  return withAttempt(`queued for ${formatSpan(waited)}`, operation, ", not started");
}

function running(operation: Summarized, now: number): string {
  const heard = ageSeconds(operation.heard_at, now) ?? 0;
  // Without a lease, no one reports the death of the producer; silence may mean that.
  const isDoubtful = operation.presence !== "attached" && operation.presence !== "away" && heard >= SILENT_S;
  const head = withAttempt(isDoubtful ? "running, or lost" : "running", operation, "");
  const facts = [
    stoppingOf(operation),
    presenceOf(operation, now),
    isDoubtful ? `silent for ${formatSpan(heard)}` : `last event ${formatAgo(heard)}`,
    advanceOf(operation, now),
  ];
  const outlook = outlookOf(operation);
  return `${head}: ${facts.filter(Boolean).join(", ")}${outlook ? `; ${outlook}` : ""}`;
}

function stoppingOf(operation: Row): string {
  if (operation.cancel_requested_at === undefined) return "";
  return operation.cancelled_by ? `stopping, asked by ${line(operation.cancelled_by)}` : "stopping, as requested";
}

function presenceOf(operation: Row, now: number): string {
  const away = ageSeconds(operation.away_since, now);
  const since = away === undefined ? "" : ` for ${formatSpan(away)}`;
  if (operation.presence === "attached") return `alive${since}`;
  return operation.presence === "away" ? `its producer is away${since}` : "";
}

function advanceOf(operation: Row, now: number): string {
  const share = progressOf(operation);
  const idle = ageSeconds(operation.advanced_at ?? operation.started_at, now);
  const isIdle = operation.stalled === true || (operation.stalled === undefined && (idle ?? 0) >= IDLE_S);
  if (idle === undefined || !isIdle) return share;
  return `no progress for ${formatSpan(idle)}${share ? ` (${share})` : ""}`;
}

/** `42% at 'parse'`; empty if neither was reported. */
export function progressOf(operation: Row): string {
  const isKnown = operation.progress !== undefined && operation.indeterminate !== true;
  const percent = isKnown ? `${Math.trunc(operation.progress ?? 0)}%` : "";
  const share = operation.progress_of === "children" ? `${percent} of its children` : percent;
  const step = line(operation.current_step);
  return [share, step ? `at ${quoted(step)}` : ""].filter(Boolean).join(" ");
}

/** A text in quotation marks, as Python writes it. */
function quoted(text: string): string {
  const escaped = text.replaceAll("\\", "\\\\");
  return text.includes("'") && !text.includes('"') ? `"${escaped}"` : `'${escaped.replaceAll("'", "\\'")}'`;
}

function outlookOf(operation: Summarized): string {
  if (operation.presence === "away") {
    const lease = operation.lease_s;
    const when = lease === undefined ? "" : ` when its lease of ${formatSpan(lease)} is over`;
    return `it fails${when}, unless its producer comes back`;
  }
  const usual = usualOf(operation);
  const left = remainingOf(operation);
  if (left) return usual ? `${left}, usually takes ${usual}` : left;
  return usual ? `usually takes ${usual}` : "";
}

function remainingOf(operation: Row): string {
  const estimate = operation.estimate;
  if (estimate?.remaining_s === undefined || estimate.stalled) return "";
  return formatRemaining(estimate.remaining_s, estimate.remaining_low_s, estimate.remaining_high_s);
}

function usualOf(operation: Summarized): string {
  const median = operation.usual?.median_duration_s;
  return median === undefined ? "" : formatSpan(median);
}

function ended(operation: Summarized, now: number): string {
  const age = ageSeconds(operation.ended_at, now);
  let text: string = operation.state;
  if (age !== undefined) text += ` ${formatAgo(age)}`;
  if (operation.duration_s !== undefined) text += ` after ${formatSpan(operation.duration_s)}`;
  if (operation.state === "complete") {
    const usual = usualOf(operation);
    const message = line(operation.message);
    return withAttempt(usual ? `${text} (usually ${usual})` : text, operation, message ? `: ${message}` : "");
  }
  if (operation.state === "cancelled") {
    const [by, reason] = [line(operation.cancelled_by), line(operation.reason)];
    return withAttempt(text, operation, `${by ? ` by ${by}` : ""}${reason ? `: ${reason}` : ""}`);
  }
  return withAttempt(text, operation, "");
}

function withAttempt(text: string, operation: Row, rest: string): string {
  return operation.attempt > 1 ? `${text} (${ordinal(operation.attempt)} attempt)${rest}` : text + rest;
}

function line(text: string | undefined | null): string {
  return plain([...(text ?? "").slice(0, 2 * MAX_CHARS)].slice(0, MAX_CHARS).join("")).replace(/\s+/g, " ");
}

function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/**
 * What one event changes about an operation: the fold of the hub (docs/protocol/operations.md), without what only the
 * hub knows, such as its holder. Pure: the time is an argument.
 */

import type { ErrorData } from "../generated/contract.ts";
import { advance, type Transition, transitionOf } from "./lifecycle.ts";
import { type Estimate, isLive, type Operation } from "./operation.ts";

/** Maximum characters kept of a message, a reason, a command or a hint; the whole text is in the event. */
const MAX_TEXT_CHARS = 2_000;
/** Maximum characters kept of a name: of the operation, a step, a host or a user. */
const MAX_NAME_CHARS = 256;
/** Maximum characters kept of an error's details: the last ones, because the end of a stack is the most useful part. */
const MAX_DETAILS_CHARS = 8 << 10;
/** Maximum size of a start whose `metadata` is kept, in bytes. */
const MAX_METADATA_BYTES = 4 << 10;
/** Maximum steps of one attempt, and the maximum characters of their names. */
const MAX_STEPS = 200;
const MAX_STEP_CHARS = 8_000;
/** Maximum ends of steps that are kept. */
const MAX_STEP_ENDS = 12;
/** Maximum duration that is kept, in milliseconds: 2^63 nanoseconds. */
const MAX_DURATION_MS = 2 ** 63 / 1e6;
/** How much later than its receipt a timestamp may seem: the client knows the hub's clock only roughly. */
const MAX_CLOCK_ERROR_MS = 1_000;

/** What the fold needs of an event: a message of the hub, whose `data` may have any form. */
export interface FoldedEvent {
  readonly type: string;
  readonly timestamp: string;
  readonly trace_id: string;
  readonly data: unknown;
}

/** The fields of all payloads that the fold reads; each may have any form. */
type Fields = { readonly [Name in FieldName]?: unknown };
type FieldName =
  | "operation_id"
  | "attempt"
  | "queued"
  | "name"
  | "parent_id"
  | "resumes"
  | "host"
  | "pid"
  | "command"
  | "user"
  | "metadata"
  | "steps"
  | "total_steps"
  | "progress"
  | "indeterminate"
  | "current_step"
  | "level"
  | "message"
  | "duration_ms"
  | "code"
  | "details"
  | "recoverable"
  | "hint"
  | "reason"
  | "cancelled_by"
  | "rate"
  | "remaining_s"
  | "remaining_low_s"
  | "remaining_high_s"
  | "stalled"
  | "began_at"
  | "away_since"
  | "cancel_requested_at";
/** What numbers the steps of an operation, and is not shown: absent where its start was not received. */
interface Plan {
  /** Names of the planned steps. */
  readonly planned: readonly string[];
  /** Number of steps that the attempt has reached. */
  readonly reached: number;
}

const PLAN = Symbol("plan");

interface Planned {
  readonly [PLAN]?: Plan | undefined;
}

/** An operation, with what the fold alone needs. */
type Folded = Operation & Planned;
type Changes = { -readonly [Name in keyof Folded]?: Folded[Name] };

/**
 * Returns an operation after an event; the same object if the event changes nothing, undefined while it is unknown.
 *
 * @param before - The operation before; undefined where it is not known.
 * @param event - An event of the operation, in log order.
 * @param receivedMs - Time at which the hub received it, in milliseconds since 1970: the hub's clock.
 */
export function foldEvent(before: Folded | undefined, event: FoldedEvent, receivedMs: number): Operation | undefined {
  const data: Fields | undefined = isObject(event.data) ? event.data : undefined;
  if (data === undefined) return before;
  if (event.type === "operation:estimate") return foldEstimate(before, data);
  const transition = transitionOf(event.type, data.queued === true);
  if (transition === undefined) return before;
  const life = advance(before, transition, asNumber(data.attempt) || undefined);
  if (life === undefined) return before;
  const changes: Changes = { heard_at: isoTime(receivedMs) };
  let operation = before;
  if (operation === undefined || life.attempt !== operation.attempt) {
    operation = beginAttempt(operation, textOf(data.operation_id) ?? "", life.attempt, event.trace_id);
  }
  const isNews = operation !== before || life.state !== operation.state;
  const at =
    isNews || (transition !== "progress" && transition !== "log") ? storedTime(event.timestamp, receivedMs) : "";
  if (isNews) {
    changes.state = life.state;
    if (life.state === "queued") changes.queued_at = at;
    else changes.started_at = operation.started_at ?? at;
  }
  applyFields(transition, operation, changes, data, at);
  return { ...operation, ...changes };
}

/** Returns the operation of an attempt that begins: what describes the work stays, what an attempt reported does not. */
function beginAttempt(before: Folded | undefined, id: string, attempt: number, trace: string): Folded {
  return {
    operation_id: before?.operation_id ?? id,
    name: before?.name ?? "",
    state: "running",
    attempt,
    trace_id: trace,
    heard_at: "",
    presence: "unknown",
    parent_id: before?.parent_id,
    total_steps: before?.total_steps,
    resumes: before?.resumes,
    host: before?.host,
    pid: before?.pid,
    command: before?.command,
    user: before?.user,
    metadata: before?.metadata,
    [PLAN]: before === undefined ? { planned: [], reached: 0 } : before[PLAN] && { ...before[PLAN], reached: 0 },
  };
}

function applyFields(transition: Transition, operation: Folded, changes: Changes, data: Fields, at: string): void {
  switch (transition) {
    case "queue":
    case "start":
      applyStart(operation, changes, data);
      break;
    case "progress":
      applyProgress(operation, changes, data);
      break;
    case "log":
      applyLine(operation, changes, data);
      break;
    default:
      applyEnd(transition, operation, changes, data, at);
  }
}

function applyStart(operation: Folded, changes: Changes, data: Fields): void {
  changes.name = clip(textOf(data.name), MAX_NAME_CHARS) || operation.name;
  const parent = textOf(data.parent_id);
  if (parent && countCharacters(parent) <= MAX_NAME_CHARS) changes.parent_id = parent;
  changes.pid = asNumber(data.pid) ?? operation.pid;
  changes.resumes = clip(textOf(data.resumes), MAX_NAME_CHARS) ?? operation.resumes;
  changes.host = clip(textOf(data.host), MAX_NAME_CHARS) ?? operation.host;
  changes.command = clip(textOf(data.command), MAX_TEXT_CHARS) ?? operation.command;
  changes.user = clip(textOf(data.user), MAX_NAME_CHARS) ?? operation.user;
  if (isObject(data.metadata) && new TextEncoder().encode(JSON.stringify(data)).length <= MAX_METADATA_BYTES) {
    changes.metadata = data.metadata;
  }
  const steps = keptSteps(data.steps);
  if (steps.length > 0) {
    const plan: Plan = { planned: steps, reached: operation[PLAN]?.reached ?? operation.step ?? 0 };
    changes[PLAN] = plan;
    if (operation.current_step !== undefined) changes.step = numberOf(operation.current_step, plan);
  }
  changes.total_steps = asNumber(data.total_steps) || steps.length || operation.total_steps;
}

/** Returns the planned steps that are kept. */
function keptSteps(steps: unknown): readonly string[] {
  const kept: string[] = [];
  let characters = 0;
  for (const step of Array.isArray(steps) ? steps.slice(0, MAX_STEPS) : []) {
    const name = clip(textOf(step), MAX_NAME_CHARS) ?? "";
    characters += countCharacters(name);
    if (characters > MAX_STEP_CHARS) break;
    kept.push(name);
  }
  return kept;
}

/** Returns the number of a step: among the planned ones, or of those that were reached. */
function numberOf(step: string, { planned, reached }: Plan): number | undefined {
  return planned.indexOf(step) + 1 || reached || undefined;
}

function applyLine(operation: Operation, changes: Changes, { level }: Fields): void {
  if (level === "warning") changes.warnings = (operation.warnings ?? 0) + 1;
  else if (level === "error" || level === "critical") changes.errors = (operation.errors ?? 0) + 1;
}

function applyProgress(operation: Folded, changes: Changes, data: Fields): void {
  const progress = asNumber(data.progress);
  if (progress === undefined) return;
  const indeterminate = data.indeterminate === true;
  changes.indeterminate = indeterminate || undefined;
  if (!indeterminate && (operation.progress === undefined || progress > operation.progress)) {
    changes.progress = progress;
    changes.advanced_at = changes.heard_at;
  }
  const step = clip(textOf(data.current_step), MAX_NAME_CHARS);
  if (step && step !== operation.current_step) {
    changes.current_step = step;
    changes.advanced_at = changes.heard_at;
    enterStep(operation, changes, step);
  }
  changes.total_steps = asNumber(data.total_steps) || operation.total_steps;
  changes.message = clip(textOf(data.message), MAX_TEXT_CHARS) || operation.message;
}

function enterStep(operation: Folded, changes: Changes, step: string): void {
  const known = operation[PLAN];
  const plan = known && { ...known, reached: known.reached + 1 };
  if (plan !== undefined) changes[PLAN] = plan;
  changes.step = plan === undefined ? (operation.step ?? 0) + 1 : numberOf(step, plan);
  const progress = changes.progress ?? operation.progress;
  const { current_step, step: before = 1, step_ends = [] } = operation;
  const isTooMany = step_ends.length === 0 && before > MAX_STEP_ENDS;
  if (current_step === undefined || progress === undefined || isTooMany) return;
  changes.step_ends = step_ends.length < MAX_STEP_ENDS ? [...step_ends, progress] : undefined;
}

function applyEnd(transition: Transition, operation: Folded, changes: Changes, data: Fields, at: string): void {
  changes.ended_at = at;
  for (const name of UNTIL_END) changes[name] = undefined;
  let durationMs: number | undefined;
  if (transition === "complete") {
    changes.progress = 100;
    changes.indeterminate = undefined;
    changes.message = clip(textOf(data.message), MAX_TEXT_CHARS) || operation.message;
    durationMs = asNumber(data.duration_ms);
  } else if (transition === "fail") {
    changes.error = errorOf(data);
  } else {
    changes.reason = clip(textOf(data.reason), MAX_TEXT_CHARS);
    changes.cancelled_by = clip(textOf(data.cancelled_by), MAX_NAME_CHARS);
  }
  durationMs = durationMs === undefined ? undefined : Math.min(durationMs, MAX_DURATION_MS);
  const started = changes.started_at ?? operation.started_at;
  durationMs ??= started === undefined ? undefined : Math.max(0, Date.parse(at) - Date.parse(started));
  changes.duration_s = durationMs === undefined ? undefined : durationMs / 1000;
}

/** What the hub no longer says of an operation that has ended. */
const UNTIL_END = ["presence", "away_since", "stalled", "estimate", "cancel_requested_at", "cancelled_by"] as const;

function errorOf(data: Fields): ErrorData | undefined {
  const code = textOf(data.code);
  const message = clip(textOf(data.message), MAX_TEXT_CHARS);
  if (code === undefined || message === undefined) return undefined;
  const details = textOf(data.details);
  const hint = clip(textOf(data.hint), MAX_TEXT_CHARS);
  return {
    code,
    message,
    ...(details ? { details: [...details].slice(-MAX_DETAILS_CHARS).join("") } : {}),
    recoverable: data.recoverable === true,
    ...(hint === undefined ? {} : { hint }),
  };
}

function foldEstimate(before: Operation | undefined, data: Fields): Operation | undefined {
  if (before === undefined || !isLive(before)) return before;
  const estimate: Estimate = {
    rate: asNumber(data.rate),
    remaining_s: asNumber(data.remaining_s),
    remaining_low_s: asNumber(data.remaining_low_s),
    remaining_high_s: asNumber(data.remaining_high_s),
    stalled: data.stalled === true,
  };
  const awaySince = textOf(data.away_since);
  return {
    ...before,
    estimate,
    stalled: estimate.stalled,
    started_at: textOf(data.began_at) ?? before.started_at,
    presence: awaySince !== undefined ? "away" : before.presence === "away" ? "attached" : before.presence,
    away_since: awaySince,
    cancel_requested_at: textOf(data.cancel_requested_at),
    cancelled_by: textOf(data.cancelled_by),
  };
}

/** Returns the time of an event: its timestamp, but not later than its receipt. */
function storedTime(timestamp: string, receivedMs: number): string {
  const at = Date.parse(timestamp);
  return at <= receivedMs + MAX_CLOCK_ERROR_MS ? timestamp : isoTime(receivedMs);
}

let latestMs = Number.NaN;
let latestIso = "";

/** Returns a time in RFC 3339, to the millisecond; the same string for events that arrive together. */
function isoTime(ms: number): string {
  const whole = Math.trunc(ms);
  if (whole !== latestMs) {
    latestIso = new Date(whole).toISOString();
    latestMs = whole;
  }
  return latestIso;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function asNumber(value: unknown): number | undefined {
  return typeof value === "number" ? value : undefined;
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** Returns the number of characters as Python counts them: a surrogate pair is one. */
function countCharacters(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

/** Returns a text, cut to at most `most` characters as the hub does: plain ASCII ends in "..." then. */
function clip(text: string | undefined, most: number): string | undefined {
  if (text === undefined || text.length <= most) return text;
  const characters = [...text];
  if (characters.length <= most) return text;
  const mark = /[\u0080-\uffff]/.test(text) ? "…" : "...";
  return characters.slice(0, most - mark.length).join("") + mark;
}

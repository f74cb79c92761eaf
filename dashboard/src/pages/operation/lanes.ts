/** The attempts of an operation on one time line: where each begins and ends, and the steps of the last one. */

import type { Row } from "../../format/row.ts";
import { toMillis } from "../../format/time.ts";
import { type Attempt, attemptsOf, type OperationDetail, type Step } from "./detail.ts";

/** A stretch of a lane, in percent of the width. */
export interface Block {
  readonly name: string;
  readonly kind: "queued" | "done" | "running" | "stopped" | "cancelled";
  readonly start: number;
  readonly width: number;
}

export interface Lane {
  readonly attempt: number;
  readonly state: Row["state"];
  readonly isLast: boolean;
  readonly blocks: readonly Block[];
  /** Seconds from its begin to its end, or until now. */
  readonly seconds: number | undefined;
  readonly code: string;
}

export interface TimeLine {
  /** Milliseconds since 1970. */
  readonly from: number;
  readonly until: number;
  readonly lanes: readonly Lane[];
}

/** Narrowest block that can be seen, in percent. */
const MIN_WIDTH = 0.4;

/**
 * The time line of an operation; undefined where nothing is known of its begin.
 *
 * @param now - Current time by the hub's clock, milliseconds since 1970: the end of what still runs.
 */
export function timeLineOf(detail: OperationDetail, now: number): TimeLine | undefined {
  const attempts = attemptsOf(detail);
  const spans = attempts.map((attempt) => spanOf(attempt, now)).filter((span) => span !== undefined);
  if (spans.length === 0) return undefined;
  const from = Math.min(...spans.map(({ begin }) => begin));
  const until = Math.max(from + 1, ...spans.map(({ end }) => end));
  const place = (at: number) => (100 * (Math.min(until, Math.max(from, at)) - from)) / (until - from);
  const block = (name: string, kind: Block["kind"], begin: number, end: number): Block => {
    const width = Math.max(MIN_WIDTH, place(end) - place(begin));
    return { name, kind, start: Math.min(place(begin), 100 - width), width };
  };
  const lanes = spans.map(({ attempt, begin, started, end }, index): Lane => {
    const isLast = index === spans.length - 1;
    const steps = isLast && started !== undefined ? stepBlocks(detail.steps, end, block) : [];
    const blocks: Block[] = [];
    if (begin < (started ?? end)) blocks.push(block("queued", "queued", begin, started ?? end));
    if (steps.length > 0) blocks.push(...steps);
    else if (started !== undefined) blocks.push(block("", kindOf(attempt.state), started, end));
    else if (blocks.length === 0) blocks.push(block("", kindOf(attempt.state), end, end));
    return {
      attempt: attempt.attempt,
      state: attempt.state,
      isLast,
      blocks,
      seconds: started === undefined ? undefined : (attempt.duration_s ?? (end - started) / 1_000),
      code: attempt.code ?? "",
    };
  });
  return { from, until, lanes };
}

function spanOf(attempt: Attempt, now: number) {
  const started = toMillis(attempt.started_at);
  const begin = toMillis(attempt.queued_at) ?? started ?? toMillis(attempt.ended_at);
  if (begin === undefined) return undefined;
  const isLive = attempt.state === "running" || attempt.state === "queued";
  const end = Math.max(begin, started ?? begin, toMillis(attempt.ended_at) ?? (isLive ? now : begin));
  return { attempt, begin: Math.min(begin, started ?? begin), started, end };
}

function stepBlocks(
  steps: readonly Step[],
  end: number,
  block: (name: string, kind: Block["kind"], begin: number, end: number) => Block,
): Block[] {
  const blocks: Block[] = [];
  for (const step of steps) {
    const begin = toMillis(step.started_at);
    if (begin === undefined || step.state === "waiting") continue;
    blocks.push(block(step.name, step.state, begin, toMillis(step.ended_at) ?? end));
  }
  return blocks;
}

function kindOf(state: Row["state"]): Block["kind"] {
  if (state === "failed") return "stopped";
  if (state === "cancelled") return "cancelled";
  return state === "running" ? "running" : "done";
}

/** Marks of the axis: `count` times, evenly spread, milliseconds since 1970. */
export function axisOf({ from, until }: TimeLine, count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => from + ((until - from) * index) / (count - 1));
}

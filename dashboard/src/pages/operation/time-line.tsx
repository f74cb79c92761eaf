/** Attempts and steps: a lane for each attempt, a block for each step of the last one, and the steps as a list. */

import { type ReadonlySignal, useComputed } from "@preact/signals";
import type { JSX } from "preact";
import { now } from "../../clock.ts";
import { isLive, LOOK_WORDS } from "../../format/operation.ts";
import { counted, formatPreciseSpan, formatSpan, ordinal } from "../../format/span.ts";
import { plain } from "../../format/text.ts";
import { formatClock, formatFullTime, formatMinute, toMillis } from "../../format/time.ts";
import { Icon } from "../../parts/icon.tsx";
import { zone } from "../../settings.ts";
import { type OperationDetail, type Step, secondsBetween } from "./detail.ts";
import { axisOf, type Block, type Lane, type TimeLine, timeLineOf } from "./lanes.ts";

/** Width in percent below which a block has no name. */
const MIN_NAMED_WIDTH = 8;
const AXIS_MARKS = 5;
/** Spans below this show seconds on the axis, in milliseconds. */
const SECONDS_BELOW_MS = 600_000;

export interface TimeLineSectionProps {
  readonly detail: ReadonlySignal<OperationDetail>;
  readonly attempt: number | undefined;
  readonly onAttempt: (attempt: number | undefined) => void;
}

/** The section; nothing where it would say nothing. */
export function TimeLineSection({ detail, attempt, onAttempt }: TimeLineSectionProps): JSX.Element | null {
  // Nothing of an ended operation moves: it needs no clock.
  const line = useComputed(() => timeLineOf(detail.value, isLive(detail.value) ? now.value : 0));
  // One attempt without steps is a plain bar: the top of the page says as much.
  if (line.value === undefined || (line.value.lanes.length === 1 && detail.value.steps.length === 0)) return null;
  const { lanes, from, until } = line.value;
  const several = lanes.length > 1;
  const { steps } = detail.value;
  const note = [
    several ? `${counted(lanes.length, "attempt")} in ${formatSpan((until - from) / 1_000)}` : "",
    steps.length > 0 ? "each block is a step" : "",
  ].filter(Boolean);
  return (
    <section class="sec frozen" aria-labelledby="h-tl">
      <header>
        <h2 id="h-tl">{steps.length > 0 ? "Attempts and steps" : "Attempts"}</h2>
        <span class="note">{note.join("; ")}</span>
      </header>
      <div class="tl">
        {lanes.map((lane) => (
          <LaneRow
            key={lane.attempt}
            lane={lane}
            isChosen={attempt === lane.attempt}
            isAlone={!several}
            onAttempt={onAttempt}
          />
        ))}
        <span />
        <Axis line={line.value} />
        <span />
      </div>
      {steps.length > 0 ? <Steps detail={detail} /> : null}
    </section>
  );
}

interface LaneRowProps {
  readonly lane: Lane;
  readonly isChosen: boolean;
  readonly isAlone: boolean;
  readonly onAttempt: (attempt: number | undefined) => void;
}

function LaneRow({ lane, isChosen, isAlone, onAttempt }: LaneRowProps): JSX.Element {
  const name = `${ordinal(lane.attempt)} attempt`;
  const steps = lane.blocks.map((block) => plain(block.name)).filter(Boolean);
  const label = [`${name}: ${LOOK_WORDS[lane.state]}`, plain(lane.code), steps.join(", ")].filter(Boolean).join("; ");
  return (
    <>
      {isAlone ? (
        <span class="now">{name}</span>
      ) : (
        <button
          type="button"
          class={lane.isLast ? "attempt now" : "attempt"}
          aria-pressed={isChosen}
          title={isChosen ? "Show the log of all attempts" : "Show only its log"}
          onClick={() => onAttempt(isChosen ? undefined : lane.attempt)}
        >
          {name}
        </button>
      )}
      <svg class={lane.isLast ? "lane" : "lane old"} role="img" aria-label={label}>
        <title>{label}</title>
        <line class="base" x2="100%" y1="12" y2="12" />
        {lane.blocks.map((block, index) => (
          <BlockShape key={`${block.name} ${index}`} block={block} code={lane.isLast ? "" : lane.code} />
        ))}
      </svg>
      <span class={lane.isLast ? "num" : "num two"}>
        {lane.seconds === undefined ? "" : formatPreciseSpan(lane.seconds)}
      </span>
    </>
  );
}

const BLOCK_CLASS = { queued: "wait", done: "done", running: "run", stopped: "stop", cancelled: "off" } as const;

function BlockShape({ block, code }: { readonly block: Block; readonly code: string }): JSX.Element {
  const { kind, start, width } = block;
  const text = plain(block.name || code);
  // A text in SVG cannot be cut at its block: about a percent of the width for each character fits.
  const room = Math.floor(width * 1.1);
  const shown =
    width < MIN_NAMED_WIDTH || kind === "queued" ? "" : text.length > room ? `${text.slice(0, room - 1)}…` : text;
  return (
    <>
      <rect class={BLOCK_CLASS[kind]} x={`${start}%`} y="3" width={`${width}%`} height="18" rx="2" />
      <text x={`${start}%`} dx="6" y="16">
        {shown}
      </text>
    </>
  );
}

function Axis({ line }: { readonly line: TimeLine }): JSX.Element {
  const format = line.until - line.from < SECONDS_BELOW_MS ? formatClock : formatMinute;
  return (
    <div class="axis">
      {axisOf(line, AXIS_MARKS).map((at) => (
        <time key={at} dateTime={new Date(at).toISOString()} title={formatFullTime(at, zone.value)}>
          {format(at, zone.value)}
        </time>
      ))}
    </div>
  );
}

const STEP_LOOKS = { done: "complete", running: "running", waiting: "queued", stopped: "failed" } as const;

function Steps({ detail }: { readonly detail: ReadonlySignal<OperationDetail> }): JSX.Element {
  const { steps, attempt, state, current_step: current } = detail.value;
  const last = steps.at(-1);
  return (
    <>
      <ol class="steps" aria-label={`Steps of the ${ordinal(attempt)} attempt`}>
        {steps.map((step, index) => {
          const look = step.state === "stopped" && state === "cancelled" ? "cancelled" : STEP_LOOKS[step.state];
          return (
            <li key={`${step.name} ${index}`}>
              <Icon name={look} class={`s-${look}`} />
              <span class={step.state === "waiting" ? "two cut" : "cut"} title={plain(step.name)}>
                <span class="sr">{step.state}: </span>
                {plain(step.name)}
              </span>
              <span class={look === "failed" ? "say-failed cut" : "two cut"}>{sayStep(step, detail.value)}</span>
              <span class="num two">{tookOf(step, detail.value)}</span>
            </li>
          );
        })}
      </ol>
      {current !== undefined && last?.state === "done" && last.name !== current ? (
        <p class="note-s two">
          The first {steps.length}; later ones, such as “{plain(current)}”, are not listed.
        </p>
      ) : null}
    </>
  );
}

function sayStep(step: Step, detail: OperationDetail): string {
  const usual = step.usual_s === undefined ? "" : `usually takes ${formatPreciseSpan(step.usual_s)}`;
  if (step.state === "waiting") return [detail.ended_at ? "not reached" : "", usual].filter(Boolean).join("; ");
  const reached = detail.progress === undefined ? "" : ` at ${Math.floor(detail.progress)}%`;
  if (step.state === "stopped") return `stopped${reached}`;
  if (step.state === "running") return [plain(detail.message), usual].filter(Boolean).join("; ");
  return usual;
}

function tookOf(step: Step, detail: OperationDetail): string {
  if (step.started_at === undefined) return "";
  const until = step.ended_at ?? detail.ended_at ?? new Date(now.value).toISOString();
  const seconds = secondsBetween(step.started_at, until);
  return seconds === undefined || toMillis(step.started_at) === undefined ? "" : formatPreciseSpan(seconds);
}

/** One trace: a time line over all operations that it runs through, and its events. */

import { useComputed, useSignal, useSignalEffect } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import { now } from "../../clock.ts";
import { LOOK_WORDS } from "../../format/operation.ts";
import { counted, formatPreciseSpan, formatSpan } from "../../format/span.ts";
import { plain } from "../../format/text.ts";
import { formatClock, formatDay, formatPreciseClock } from "../../format/time.ts";
import { hub, whyNoActions } from "../../hub.ts";
import { type Command, useCommands } from "../../keys.ts";
import { usePageTitle } from "../../page-title.ts";
import { CopyButton } from "../../parts/copy.tsx";
import { StateIcon } from "../../parts/icon.tsx";
import { PanelError, Skeleton } from "../../parts/panel.tsx";
import { useLinkReturn, useResource } from "../../parts/resource.ts";
import { Go, hrefOf, useQuery } from "../../router.tsx";
import { zone } from "../../settings.ts";
import { loadContract } from "./contract.ts";
import { EventDetail } from "./detail.tsx";
import type { LoggedEvent } from "./filter.ts";
import { EventList } from "./list.tsx";
import { type Lane, layOutTrace, type Mark, type Span, type TraceView } from "./trace.ts";
import { MAX_EVENTS, TraceFeed } from "./trace-feed.ts";
import "./events.css";

/** Lanes that are drawn at first. */
const MAX_LANES = 60;
const NO_KEYS = new Map<string, string>();
const NO_ROWS = new Set<never>();

/** The page. */
export function TracePage(): JSX.Element {
  const query = useQuery();
  const id = query.get("id") ?? "";
  usePageTitle(`Trace ${id}`.trim());
  return id === "" ? <NoTraceNamed /> : <Trace key={id} id={id} wanted={query.get("event")} />;
}

function Trace({ id, wanted }: { readonly id: string; readonly wanted: string | null }): JSX.Element {
  const feed = useMemo(() => new TraceFeed(hub, id), [id]);
  const attempt = useSignal(0);
  const keys = useResource(loadContract, "contract").value.value?.keys ?? NO_KEYS;
  const selected = useSignal<LoggedEvent | null>(null);
  useEffect(() => {
    void feed.start();
    return () => feed.stop();
  }, [feed]);
  useLinkReturn(() => {
    if (feed.state.peek().error !== undefined) void feed.start();
  });
  useSignalEffect(() => {
    const found = feed.state.value.events.find((event) => event.position === wanted);
    if (found !== undefined && selected.peek() === null) selected.value = found;
  });
  useCommands(
    useMemo<readonly Command[]>(
      () => [
        {
          keys: ["Escape"],
          does: "closes the event",
          run: () => {
            if (selected.peek() === null) return false;
            selected.value = null;
            return true;
          },
        },
      ],
      [selected],
    ),
  );
  const state = feed.state.value;
  const isLive = state.phase === "live";
  const view = useComputed(() => {
    const { events, phase } = feed.state.value;
    return layOutTrace(events, phase === "live" ? now.value : null, keys);
  }).value;
  const rows = useMemo(() => state.events.map((event) => ({ kind: "event", event }) as const), [state.events]);
  const from = view.from;
  const timeOf = (millis: number) => `+${formatPreciseSpan((millis - from) / 1000)}`;
  return (
    <>
      <div class="head">
        <p class="crumb">
          <Go href={hrefOf("events")}>Events</Go> / trace
        </p>
        <div class="title">
          <h1 class="mono cut">{plain(id)}</h1>
          <CopyButton text={id} label="Copy the trace id" />
          <span class="grow" />
          <Go class="btn" href={hrefOf("events", { trace: id })}>
            Follow its events
          </Go>
        </div>
        <p class="sentence">{sentenceOf(view, state.phase === "reading", isLive)}</p>
        {state.isCut ? <p class="two">Only its first {counted(MAX_EVENTS, "event")} are shown.</p> : null}
        {state.isTrimmed ? (
          <p class="two">The hub keeps no older events: what began before may be missing here.</p>
        ) : null}
      </div>
      {state.error === undefined ? null : (
        <PanelError
          key={attempt.value}
          what="the trace"
          error={state.error}
          onRetry={() => {
            attempt.value++;
            void feed.start();
          }}
        />
      )}
      {state.phase === "reading" ? <Skeleton label="Loading the trace" /> : null}
      {state.phase === "ended" && view.events === 0 && state.error === undefined ? <NoTrace /> : null}
      {view.lanes.length === 0 ? null : (
        <Timeline
          view={view}
          onSelect={(event) => {
            selected.value = event;
          }}
        />
      )}
      {rows.length === 0 ? null : (
        <div class={selected.value === null ? "split alone" : "split"}>
          <div class="holds">
            <EventList
              rows={rows}
              keys={keys}
              selected={selected.value}
              onSelect={(event) => {
                selected.value = event;
              }}
              onOpen={() => {}}
              busy={NO_ROWS}
              whyNot={whyNoActions.value}
              label="Events of the trace, the oldest first"
              timeOf={timeOf}
            />
          </div>
          {selected.value === null ? null : (
            <EventDetail
              event={selected.value}
              keys={keys}
              withTrace={false}
              onClose={() => {
                selected.value = null;
              }}
            />
          )}
        </div>
      )}
    </>
  );
}

function NoTrace(): JSX.Element {
  return (
    <div class="empty">
      <p>
        <b>The hub has no event of this trace.</b> Either none was published, or it is no longer kept: durable events
        for a week if the hub's operator has not chosen otherwise.
      </p>
    </div>
  );
}

/** The page at an address without a trace: asked for none, the hub returns the events of all of them. */
function NoTraceNamed(): JSX.Element {
  return (
    <>
      <div class="head">
        <p class="crumb">
          <Go href={hrefOf("events")}>Events</Go> / trace
        </p>
        <h1>The address names no trace</h1>
      </div>
      <div class="empty">
        <p>An event names the trace that it belongs to: choose one on the Events page, and then its trace.</p>
      </div>
    </>
  );
}

function sentenceOf(view: TraceView, isReading: boolean, isLive: boolean): string {
  if (isReading || view.events === 0) return "";
  const span = formatSpan((view.until - view.from) / 1000);
  const operations = view.operations === 0 ? "" : `, ${counted(view.operations, "operation")}`;
  const at = `${formatDay(view.from, zone.value, now.peek())}, ${formatClock(view.from, zone.value)}`;
  return `${counted(view.events, "event")} in ${span}${operations}; began ${at}${isLive ? ", still running" : ""}.`;
}

interface TimelineProps {
  readonly view: TraceView;
  readonly onSelect: (event: LoggedEvent) => void;
}

function Timeline({ view, onSelect }: TimelineProps): JSX.Element {
  const isWhole = useSignal(false);
  const lanes = isWhole.value ? view.lanes : view.lanes.slice(0, MAX_LANES);
  return (
    <section class="sec" aria-label="Time line">
      <div class="tl trace-tl frozen" role="list">
        {lanes.map((lane) => (
          <LaneView
            key={lane.operationId === "" ? `type ${lane.name}` : lane.operationId}
            lane={lane}
            view={view}
            onSelect={onSelect}
          />
        ))}
        <span />
        <div class="axis" aria-hidden="true">
          {[0, 0.25, 0.5, 0.75, 1].map((share) => (
            <span key={share}>{axisLabel(view, share)}</span>
          ))}
        </div>
        <span />
      </div>
      {lanes.length < view.lanes.length ? (
        <button
          type="button"
          class="btn"
          onClick={() => {
            isWhole.value = true;
          }}
        >
          Show all {counted(view.lanes.length, "line")}
        </button>
      ) : null}
    </section>
  );
}

/** Below ten seconds the whole seconds of an axis would repeat. */
const SHORT_MS = 10_000;

function axisLabel(view: TraceView, share: number): string {
  const length = view.until - view.from;
  const at = view.from + share * length;
  return length < SHORT_MS ? formatPreciseClock(at, zone.value) : formatClock(at, zone.value);
}

interface LaneProps extends TimelineProps {
  readonly lane: Lane;
}

const STATE_CLASSES: Readonly<Record<Span["state"], string>> = {
  queued: "queued",
  running: "live",
  complete: "ok",
  failed: "bad",
  cancelled: "off",
};

function LaneView({ lane, view, onSelect }: LaneProps): JSX.Element {
  const last = lane.spans.at(-1);
  const name = lane.name === "" ? lane.operationId : lane.name;
  return (
    <div class="lane-row" role="listitem">
      <div class="who mid cut" data-depth={Math.min(lane.depth, 6)}>
        {last === undefined ? null : <StateIcon look={last.state} />}
        {lane.operationId === "" ? (
          <span class="mono cut">{plain(name)}</span>
        ) : (
          <Go class="cut" href={hrefOf("operation", { id: lane.operationId })}>
            {plain(name)}
          </Go>
        )}
      </div>
      <svg class="lane" role="img" aria-label={describeLane(lane, view)}>
        <line class="base" x1="0" x2="100%" y1="12" y2="12" />
        {lane.spans.map((span) => (
          <rect
            key={`${span.attempt} ${span.from}`}
            class={`span ${STATE_CLASSES[span.state]}`}
            x={percent(span.from)}
            width={percent(Math.max(0.002, span.until - span.from))}
            y="5"
            height="14"
            rx="2"
          />
        ))}
        {lane.marks.map((mark) => (
          <MarkView key={mark.event.position} mark={mark} onSelect={onSelect} />
        ))}
      </svg>
      <span class="num two">{durationOf(lane, view)}</span>
    </div>
  );
}

function MarkView({
  mark,
  onSelect,
}: {
  readonly mark: Mark;
  readonly onSelect: TimelineProps["onSelect"];
}): JSX.Element {
  const at = percent(mark.at);
  // The list of events below is the way to them for keys and screen readers.
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: see above
    <g class={`mark tone-${mark.tone}`} onClick={() => onSelect(mark.event)}>
      <title>{mark.count === 1 ? mark.event.type : `${mark.count} events, the last ${mark.event.type}`}</title>
      {mark.tone === "plain" ? (
        <line x1={at} x2={at} y1="2" y2="22" />
      ) : (
        <circle cx={at} cy="12" r={mark.tone === "failed" ? 5 : 4} />
      )}
    </g>
  );
}

function percent(share: number): string {
  return `${Math.round(share * 10_000) / 100}%`;
}

function durationOf(lane: Lane, view: TraceView): string {
  const first = lane.spans[0];
  const last = lane.spans.at(-1);
  if (first === undefined || last === undefined) return counted(lane.events, "event");
  return formatPreciseSpan(((last.until - first.from) * (view.until - view.from)) / 1000);
}

function describeLane(lane: Lane, view: TraceView): string {
  const attempts = lane.spans.length > 1 ? `${lane.spans.length} stretches, ` : "";
  const last = lane.spans.at(-1);
  const state = last === undefined ? "" : `${LOOK_WORDS[last.state]}, `;
  return `${attempts}${state}${durationOf(lane, view)}, ${counted(lane.events, "event")}`;
}

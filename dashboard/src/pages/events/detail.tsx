/** One event in full: its facts, its data, and what else has its trace. */

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { now } from "../../clock.ts";
import { lookOf, nameOf, percentOf } from "../../format/operation.ts";
import { counted, formatSpan } from "../../format/span.ts";
import { plain } from "../../format/text.ts";
import { formatClock, formatDay, formatPreciseClock, toMillis } from "../../format/time.ts";
import { hub } from "../../hub.ts";
import { liveRows } from "../../live.ts";
import { CopyButton } from "../../parts/copy.tsx";
import { Icon } from "../../parts/icon.tsx";
import { errorFacts } from "../../parts/panel.tsx";
import { Go, hrefOf } from "../../router.tsx";
import { zone } from "../../settings.ts";
import { toneOf } from "./describe.ts";
import { EVERYTHING, type KeyFields, keyOf, type LoggedEvent } from "./filter.ts";
import { fullJson, layOutJson, type Token, visible } from "./json-lines.ts";
import { type HistoryAnswer, historyPath } from "./reader.ts";
import { operationOf } from "./trace.ts";

/** Milliseconds before the trace of a selected event is asked for: the arrows pass over many. */
const TRACE_DELAY_MS = 300;
/** Events of a trace that are looked at beside an event. */
const TRACE_LIMIT = 100;
/** Lines of a trace that are listed there. */
const TRACE_LINES = 8;

/** Properties of {@link EventDetail}. */
export interface EventDetailProps {
  readonly event: LoggedEvent;
  readonly keys: KeyFields;
  /** Whether the trace is summed up; not where all of it is shown. */
  readonly withTrace: boolean;
  readonly onClose: () => void;
}

/** The selected event. */
export function EventDetail({ event, keys, withTrace, onClose }: EventDetailProps): JSX.Element {
  const key = keyOf(event, keys);
  const operationId = operationOf(event, keys);
  const at = toMillis(event.timestamp);
  return (
    <aside class="detail" aria-label="The selected event">
      <section class="sec">
        <header>
          <button type="button" class="btn plain square only-phone" aria-label="Back to the events" onClick={onClose}>
            <Icon name="left" />
          </button>
          <h2 class="mono cut">{event.type}</h2>
          <span class="grow" />
          <CopyButton text={() => visible(JSON.stringify(event, null, 2))} label="Copy the event as JSON" />
          <button
            type="button"
            class="btn plain square not-phone"
            aria-label="Close"
            title="Close (Esc)"
            onClick={onClose}
          >
            <Icon name="close" />
          </button>
        </header>
        <dl class="facts">
          <dt>Time</dt>
          <dd>
            {at === undefined
              ? plain(event.timestamp)
              : `${formatDay(at, zone.value, now.peek())}, ${formatPreciseClock(at, zone.value)}`}
          </dd>
          <dt>Channel</dt>
          <dd>
            <Go href={hrefOf("events", { channel: event.channel })}>{event.channel}</Go>
          </dd>
          {key === "" ? null : (
            <>
              <dt>Key</dt>
              <dd class="mono">
                <Go href={hrefOf("events", { channel: event.channel, key })}>{plain(key)}</Go>
              </dd>
            </>
          )}
          {operationId === "" ? null : <OperationFact operationId={operationId} />}
          <dt>Trace</dt>
          <dd class="mono">
            <Go href={hrefOf("trace", { id: event.trace_id })}>{plain(event.trace_id)}</Go>
          </dd>
          <dt>Position</dt>
          <dd class="mono">{event.position}</dd>
          {event.event_id === undefined ? null : (
            <>
              <dt>Event id</dt>
              <dd class="mono">{plain(event.event_id)}</dd>
            </>
          )}
        </dl>
      </section>
      <Data key={event.position} data={event.data} />
      {withTrace ? <SameTrace event={event} /> : null}
    </aside>
  );
}

function OperationFact({ operationId }: { readonly operationId: string }): JSX.Element {
  const operation = liveRows.value.get(operationId);
  const percent = operation === undefined ? undefined : percentOf(operation);
  return (
    <>
      <dt>Operation</dt>
      <dd>
        <Go href={hrefOf("operation", { id: operationId })}>
          {operation === undefined ? plain(operationId) : nameOf(operation)}
        </Go>
        {operation !== undefined && lookOf(operation) === "running" && percent !== undefined ? `, at ${percent}%` : ""}
      </dd>
    </>
  );
}

/** The data of an event: JSON as text, cut at first where it is long. */
function Data({ data }: { readonly data: unknown }): JSX.Element {
  const isWhole = useSignal(false);
  const laidOut = layOutJson(data);
  return (
    <section class="sec">
      <header>
        <h2>Data</h2>
        <span class="grow" />
        <CopyButton text={() => fullJson(data)} label="Copy the data as JSON" />
      </header>
      <pre class="json">
        {isWhole.value
          ? fullJson(data)
          : laidOut.lines.map((line, index) => (
              <span key={index}>
                {"  ".repeat(line.depth)}
                {line.tokens.map(part)}
                {"\n"}
              </span>
            ))}
      </pre>
      {laidOut.cut && !isWhole.value ? (
        <button
          type="button"
          class="btn"
          onClick={() => {
            isWhole.value = true;
          }}
        >
          Show all of it
        </button>
      ) : null}
    </section>
  );
}

function part({ kind, text }: Token, index: number): JSX.Element {
  if (kind === "value") return <b key={index}>{text}</b>;
  return kind === "note" ? <em key={index}>{text}</em> : <i key={index}>{text}</i>;
}

/** What else has the trace of an event, in a few lines. */
function SameTrace({ event }: { readonly event: LoggedEvent }): JSX.Element {
  const found = useSignal<HistoryAnswer | null>(null);
  const problem = useSignal("");
  const trace = event.trace_id;
  useEffect(() => {
    const abort = new AbortController();
    const timer = setTimeout(async () => {
      try {
        const path = historyPath({ ...EVERYTHING, trace }, { since: "first", limit: TRACE_LIMIT });
        found.value = await hub.request<HistoryAnswer>(path, { signal: abort.signal });
        problem.value = "";
      } catch (error) {
        if (!abort.signal.aborted) problem.value = errorFacts(error).message;
      }
    }, TRACE_DELAY_MS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [trace, found, problem]);
  const events = found.value?.events.filter((each) => each.trace_id === trace) ?? [];
  return (
    <section class="sec">
      <header>
        <h2>Same trace</h2>
        {events.length === 0 ? null : <span class="note">{summaryOf(events, found.value)}</span>}
      </header>
      {problem.value === "" ? null : <p class="say-warn">{plain(problem.value)}</p>}
      <ol class="tree">
        {groupsOf(events, event)
          .slice(-TRACE_LINES)
          .map((group) => (
            <li key={group.first.position}>
              <div>
                <Icon name={iconOf(group.first)} class={toneOf(group.first) === "failed" ? "s-failed" : "three"} />
                <span class={group.isSelected ? "cut strong" : "cut"}>
                  {group.count === 1 ? group.first.type : `${group.first.type}, ${group.count} times`}
                </span>
                <span class="num three">{clockOf(group.first)}</span>
              </div>
            </li>
          ))}
      </ol>
      <p class="two">
        <Go href={hrefOf("trace", { id: trace })}>Show the whole trace</Go>
      </p>
    </section>
  );
}

interface Group {
  readonly first: LoggedEvent;
  count: number;
  isSelected: boolean;
}

/** Neighbours of one type are one line. */
function groupsOf(events: readonly LoggedEvent[], selected: LoggedEvent): Group[] {
  const groups: Group[] = [];
  for (const event of events) {
    const last = groups.at(-1);
    const isSelected = event.position === selected.position;
    if (last?.first.type === event.type) {
      last.count++;
      last.isSelected ||= isSelected;
    } else groups.push({ first: event, count: 1, isSelected });
  }
  return groups;
}

function summaryOf(events: readonly LoggedEvent[], answer: HistoryAnswer | null): string {
  const times = events.map((event) => toMillis(event.timestamp)).filter((at) => at !== undefined);
  const seconds = (Math.max(...times) - Math.min(...times)) / 1000;
  const operations = new Set(events.map((event) => operationOf(event)).filter((id) => id !== "")).size;
  const isMore = answer !== null && answer.next !== answer.position && events.length >= TRACE_LIMIT;
  const many = isMore ? `over ${TRACE_LIMIT} events` : counted(events.length, "event");
  return `${many} in ${formatSpan(seconds)}${operations === 0 ? "" : `, ${counted(operations, "operation")}`}`;
}

function iconOf(event: LoggedEvent): "list" | "running" | "complete" | "failed" | "cancelled" | "warning" | "events" {
  switch (event.type) {
    case "operation:start":
      return "running";
    case "operation:complete":
      return "complete";
    case "operation:failed":
      return "failed";
    case "operation:cancelled":
      return "cancelled";
    case "operation:log":
      return "list";
    case "system:alert":
      return "warning";
    default:
      return "events";
  }
}

function clockOf(event: LoggedEvent): string {
  const at = toMillis(event.timestamp);
  return at === undefined ? "" : formatClock(at, zone.value);
}

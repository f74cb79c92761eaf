/** The rows of events: newest first, one stop for Tab, moved through with the arrows. */

import type { JSX } from "preact";
import { useRef } from "preact/hooks";
import { counted } from "../../format/span.ts";
import { plain } from "../../format/text.ts";
import { formatFullTime, formatPreciseClock, toMillis } from "../../format/time.ts";
import { Icon } from "../../parts/icon.tsx";
import { VirtualList, type VirtualListHandle } from "../../parts/virtual-list.tsx";
import { hrefOf } from "../../router.tsx";
import { zone } from "../../settings.ts";
import { describeEvent, type Tone, toneOf } from "./describe.ts";
import { type KeyFields, keyOf, type LoggedEvent } from "./filter.ts";
import type { EarlierRow, OmittedRow, TailRow } from "./tail.ts";

/** Heights of a row as events.css has them, in pixels. */
const ROW_PX = 32;
const PHONE_ROW_PX = 52;
const PHONE = matchMedia("(max-width: 860px)");
/** Height of what covers the top of the window, in pixels. */
const COVERED_PX = 48;

/** Properties of {@link EventList}. */
export interface EventListProps {
  readonly rows: readonly TailRow[];
  readonly keys: KeyFields;
  readonly selected: LoggedEvent | null;
  readonly onSelect: (event: LoggedEvent) => void;
  /** Reads the events of a row that only names them. */
  readonly onOpen: (row: OmittedRow | EarlierRow) => void;
  /** Rows that are being read. */
  readonly busy: ReadonlySet<TailRow>;
  /** Why the log cannot be read now; empty while it can. */
  readonly whyNot: string;
  readonly label: string;
  /** Writes the time of a row; default the time of day. */
  readonly timeOf?: (millis: number) => string;
}

/** The table. */
export function EventList(props: EventListProps): JSX.Element {
  const { rows, selected, onSelect, label } = props;
  const handle = useRef<VirtualListHandle | null>(null);
  const table = useRef<HTMLDivElement>(null);
  const at = selected === null ? -1 : rows.findIndex((row) => row.kind === "event" && row.event === selected);
  const select = (index: number) => {
    const row = rows[index];
    if (row?.kind !== "event") return;
    onSelect(row.event);
    handle.current?.scrollTo(index);
    // The row may not exist before the list has scrolled.
    requestAnimationFrame(() => {
      table.current?.querySelector<HTMLElement>(`[data-position="${CSS.escape(row.event.position)}"] .name`)?.focus();
    });
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.target instanceof HTMLElement && event.target.closest("a.name") === null) return;
    const target = targetOf(event.key, rows, at, handle.current?.pageSize() ?? 10);
    if (target === null) return;
    event.preventDefault();
    event.stopPropagation();
    select(target);
  };
  const tabStop = at >= 0 ? rows[at] : rows.find((row) => row.kind === "event");
  return (
    <div
      ref={table}
      class="list tail frozen"
      role="table"
      aria-label={label}
      aria-rowcount={rows.length + 1}
      onKeyDown={onKeyDown}
    >
      <div class="lhead" role="row" aria-rowindex={1}>
        <div role="columnheader">Time</div>
        <div role="columnheader">Type</div>
        <div role="columnheader">Key</div>
        <div role="columnheader">What it says</div>
      </div>
      <VirtualList rows={rows} keyOf={rowKey} heightOf={heightOf} handle={handle} covered={COVERED_PX}>
        {(row, index) =>
          row.kind === "event" ? (
            <EventRowView
              {...props}
              event={row.event}
              index={index + 2}
              isSelected={row.event === selected}
              isTabStop={row === tabStop}
            />
          ) : (
            <NoticeRow {...props} row={row} index={index + 2} />
          )
        }
      </VirtualList>
    </div>
  );
}

/** Return the row to which a key moves; null for no move. */
function targetOf(key: string, rows: readonly TailRow[], at: number, page: number): number | null {
  const seek = (from: number, step: 1 | -1) => {
    for (let index = from; index >= 0 && index < rows.length; index += step) {
      if (rows[index]?.kind === "event") return index;
    }
    return null;
  };
  switch (key) {
    case "ArrowDown":
    case "j":
      return seek(at + 1, 1);
    case "ArrowUp":
    case "k":
      return at < 0 ? seek(0, 1) : seek(at - 1, -1);
    case "Home":
      return seek(0, 1);
    case "End":
      return seek(rows.length - 1, -1);
    case "PageDown":
      return seek(Math.min(rows.length - 1, at + page), -1);
    case "PageUp":
      return seek(Math.max(0, at - page), 1);
    default:
      return null;
  }
}

const TONES: Readonly<Record<Tone, string>> = { plain: "", warn: " say-warn", failed: " say-failed" };

interface EventRowProps extends EventListProps {
  readonly event: LoggedEvent;
  readonly index: number;
  readonly isSelected: boolean;
  readonly isTabStop: boolean;
}

function EventRowView(props: EventRowProps): JSX.Element {
  const { event, index, isSelected, isTabStop, onSelect, keys, timeOf } = props;
  const press = (click: MouseEvent) => {
    // In another tab, the link shows the event in its trace.
    if (click.metaKey || click.ctrlKey || click.shiftKey || click.altKey) return;
    click.preventDefault();
    onSelect(event);
  };
  const key = plain(keyOf(event, keys));
  return (
    <div class="lrow" role="row" aria-rowindex={index} aria-selected={isSelected} data-position={event.position}>
      <div class="e-t three" role="cell">
        <EventTime timestamp={event.timestamp} timeOf={timeOf} />
      </div>
      <div class="e-ty cut" role="cell">
        <a
          class={`name${TONES[toneOf(event)]}`}
          href={hrefOf("trace", { id: event.trace_id, event: event.position })}
          tabIndex={isTabStop ? 0 : -1}
          aria-current={isSelected ? "true" : undefined}
          onClick={press}
        >
          {event.type}
        </a>
      </div>
      <div class="e-k cut two" role="cell" title={key}>
        {key}
      </div>
      <div class="e-m cut two" role="cell">
        <bdi>{describeEvent(event)}</bdi>
      </div>
    </div>
  );
}

interface EventTimeProps {
  readonly timestamp: string;
  readonly timeOf: ((millis: number) => string) | undefined;
}

function EventTime({ timestamp, timeOf }: EventTimeProps): JSX.Element {
  const millis = toMillis(timestamp);
  if (millis === undefined) return <>{timestamp}</>;
  const title = formatFullTime(millis, zone.value);
  if (timeOf !== undefined) return <time title={title}>{timeOf(millis)}</time>;
  const [clock, fraction] = formatPreciseClock(millis, zone.value).split(".");
  return (
    <time title={title}>
      {clock}
      <span>.{fraction}</span>
    </time>
  );
}

interface NoticeRowProps extends EventListProps {
  readonly row: Exclude<TailRow, { readonly kind: "event" }>;
  readonly index: number;
}

/** A row in the place of events that are not drawn, not read, or not kept. */
function NoticeRow({ row, index, onOpen, busy, whyNot }: NoticeRowProps): JSX.Element {
  return (
    <div class="lrow notice" role="row" aria-rowindex={index}>
      <div role="cell" class="e-n" aria-colspan={4}>
        {row.kind === "gap" ? (
          <>
            <Icon name="warning" class="s-stalled" /> <span>{describeGap(row.reason)}</span>
          </>
        ) : (
          <>
            <span>{row.kind === "earlier" ? describeEarlier(row) : describeOmitted(row)}</span>
            {row.kind === "earlier" && !row.fits ? null : (
              <button
                type="button"
                class="btn"
                disabled={busy.has(row) || whyNot !== ""}
                title={whyNot}
                onClick={() => onOpen(row)}
              >
                {busy.has(row) ? "Reading the log" : "Show them"}
              </button>
            )}
          </>
        )}
      </div>
    </div>
  );
}

function describeEarlier({ fits }: EarlierRow): string {
  if (fits) return "The log has earlier events.";
  return "The log has earlier events, but this page is full. Filter to see them.";
}

function describeGap(reason: string): string {
  if (reason === "trimmed") return "The hub no longer keeps the events that were here.";
  return "The hub began another log here; events may be missing.";
}

function describeOmitted({ reason, count }: OmittedRow): string {
  const many = count === null ? "Events" : counted(count, "event");
  const were = count === 1 ? "was" : "were";
  if (reason === "too fast") return `${many} came too fast and ${were} not drawn.`;
  if (reason === "overflow") return `${many} came faster than this browser could take.`;
  return `${many} came during the pause.`;
}

function rowKey(row: TailRow): string {
  if (row.kind === "event") return row.event.position;
  return row.kind === "earlier" ? row.kind : `${row.kind} ${row.after} ${row.until}`;
}

function heightOf(): number {
  return PHONE.matches ? PHONE_ROW_PX : ROW_PX;
}

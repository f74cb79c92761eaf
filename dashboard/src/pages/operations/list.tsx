/** The list: heads, groups and rows, moved through with the arrows. */

import { signal, useComputed, useSignalEffect } from "@preact/signals";
import type { JSX } from "preact";
import { useCallback, useEffect, useMemo, useRef } from "preact/hooks";
import { attention, markSeen } from "../../attention.ts";
import { isLive, lookOf, troublesIn } from "../../format/operation.ts";
import { grouped } from "../../format/span.ts";
import { plain } from "../../format/text.ts";
import { formatMinute } from "../../format/time.ts";
import { isStale } from "../../hub.ts";
import { useHold } from "../../parts/hold.ts";
import { Icon } from "../../parts/icon.tsx";
import { useRowHeight, VirtualList, type VirtualListHandle } from "../../parts/virtual-list.tsx";
import { zone } from "../../settings.ts";
import { changeFilter } from "./address.ts";
import { COLUMNS, type Column, ENDED_STATES, type Filter, filterOfGroup, matches, SNAPSHOT_SORTS } from "./filter.ts";
import { useTotal } from "./group-totals.ts";
import {
  filter,
  folded,
  history,
  holdLines,
  lines,
  orderNow,
  readMore,
  showWaitingLines,
  sortAgain,
  sortedAt,
  totals,
  waiting,
} from "./model.ts";
import { current, useListKeys, useScrollMemory } from "./moves.ts";
import type { GroupHead, Line } from "./order.ts";
import { OperationRow } from "./row.tsx";
import { offerUndo } from "./seen.tsx";
import { isSelecting } from "./selection.ts";

/** Height of the top of the page and of the head of the list, which cover what scrolls below them, in pixels. */
const COVERED_PX = 76;

/** The list with its head. */
export function List(): JSX.Element {
  const list = useRef<HTMLDivElement>(null);
  const handle = useRef<VirtualListHandle | null>(null);
  const isHeld = useHold(list);
  useSignalEffect(() => holdLines(isHeld.value));
  const rowHeight = useRowHeight("--row").value;
  const headHeight = useRowHeight("--head").value;
  const heightOf = useCallback(
    (line: Line | MoreLine) =>
      line.kind === "group" ? headHeight : line.kind === "more" ? rowHeight + headHeight : rowHeight,
    [rowHeight, headHeight],
  );
  const shown = lines.value;
  const hasMore = history.value.next !== undefined;
  const all = useMemo<readonly (Line | MoreLine)[]>(() => (hasMore ? [...shown, MORE] : shown), [shown, hasMore]);
  const first = shown.find((line) => line.kind === "row")?.key;
  const isCurrentShown = current.value !== undefined && shown.some((line) => line.key === current.value);
  const stop = isCurrentShown ? current.value : first;
  const columns = isNarrow.value ? withoutNarrow(filter.value.columns) : filter.value.columns;
  useListKeys(list, handle, stop);
  useScrollMemory();
  return (
    <div ref={list} class="holds">
      <Pill />
      <div
        class={`list ops frozen${isSelecting.value ? " selecting" : ""} ${hiddenClasses(columns)}`}
        style={{ "--cols": columnsFor(columns, isSelecting.value) }}
        role="table"
        aria-label="Operations"
        aria-rowcount={all.length + 1}
      >
        <Head />
        <VirtualList rows={all} keyOf={keyOf} heightOf={heightOf} handle={handle} covered={COVERED_PX}>
          {(line, index) =>
            line.kind === "group" ? (
              <Group group={line.group} index={index + 2} />
            ) : line.kind === "more" ? (
              <More index={index + 2} />
            ) : (
              <OperationRow
                operationId={line.operationId}
                index={index + 2}
                isStop={line.key === stop}
                isCurrent={line.key === current.value}
              />
            )
          }
        </VirtualList>
      </div>
    </div>
  );
}

interface MoreLine {
  readonly kind: "more";
  readonly key: "more";
}

const MORE: MoreLine = { kind: "more", key: "more" };

function keyOf(line: Line | MoreLine): string {
  return line.key;
}

/** Columns for which a window up to 1240 px has no room. */
const WIDE_COLUMNS: ReadonlySet<Column> = new Set(["rate", "producer"]);

const narrow = matchMedia("(max-width: 1240px)");
const isNarrow = signal(narrow.matches);
narrow.addEventListener("change", () => {
  isNarrow.value = narrow.matches;
});

function withoutNarrow(columns: ReadonlySet<Column>): ReadonlySet<Column> {
  return new Set([...columns].filter((column) => !WIDE_COLUMNS.has(column)));
}

function hiddenClasses(columns: ReadonlySet<Column>): string {
  return (Object.keys(COLUMNS) as Column[])
    .filter((column) => !columns.has(column))
    .map((column) => `no-${column}`)
    .join(" ");
}

/** Widths of the columns, in their order: fixed, so that no text can move another column. */
const WIDTHS: readonly (readonly [Column | "icon" | "name" | "more", string])[] = [
  ["icon", "16px"],
  ["name", "minmax(200px, 5fr)"],
  ["progress", "minmax(120px, 3fr) 44px"],
  ["message", "minmax(160px, 5fr)"],
  ["remaining", "128px"],
  ["rate", "84px"],
  ["log", "60px"],
  ["age", "84px"],
  ["producer", "96px"],
  ["more", "28px"],
];

function columnsFor(columns: ReadonlySet<Column>, withChoice: boolean): string {
  return WIDTHS.filter(([column]) => column === "icon" || column === "name" || column === "more" || columns.has(column))
    .map(([column, width]) => (column === "icon" && withChoice ? "40px" : width))
    .join(" ");
}

function Head(): JSX.Element {
  const at = sortedAt.value;
  const then = isStale.value ? " then" : "";
  const sorted = at === undefined ? "" : `as of ${formatMinute(at, zone.value)}`;
  return (
    <div class="lhead" role="row" aria-rowindex={1}>
      <div role="columnheader">
        <span class="sr">State</span>
      </div>
      <SortHead sort="name">Name</SortHead>
      <SortHead sort="progress" class="c-bar" note={sorted}>
        Progress
      </SortHead>
      <div class="c-pct" role="columnheader">
        <span class="sr">Percent</span>
      </div>
      <div class="c-say" role="columnheader">
        Step or message
      </div>
      <SortHead sort="remaining" class="c-left" note={sorted}>
        {`Remaining${then}`}
      </SortHead>
      <div class="c-rate num" role="columnheader">
        Rate
      </div>
      <div class="c-log" role="columnheader">
        Logged
      </div>
      <SortHead sort="started" class="c-age num">
        {`Age${then}`}
      </SortHead>
      <div class="c-prod" role="columnheader">
        Producer
      </div>
      <div class="c-more" role="columnheader">
        <span class="sr">More</span>
      </div>
    </div>
  );
}

interface SortHeadProps {
  readonly sort: Filter["sort"];
  readonly children: string;
  readonly class?: string;
  /** When the values were taken, for an order by what ticks. */
  readonly note?: string;
}

/** A head that sorts; pressed again, it sorts by the values of now, or the other way round. */
function SortHead({ sort, children, class: name, note = "" }: SortHeadProps): JSX.Element {
  const now = filter.value.sort;
  const isOldest = sort === "started" && now === "oldest";
  const isSorted = now === sort || isOldest;
  const direction = sort === "started" || sort === "progress" ? "descending" : "ascending";
  const press = () => {
    if (now === sort && SNAPSHOT_SORTS.has(sort)) sortAgain();
    else if (now === sort) changeFilter({ sort: sort === "started" ? "oldest" : "started" });
    else changeFilter({ sort });
  };
  return (
    <div class={name} role="columnheader" aria-sort={isSorted ? (isOldest ? "ascending" : direction) : undefined}>
      <button type="button" onClick={press}>
        {children}
        {isSorted && SNAPSHOT_SORTS.has(sort) ? <span class="three"> {note}</span> : null}
      </button>
    </div>
  );
}

/** What waits while the list is held. */
function Pill(): JSX.Element | null {
  if (waiting.value === "") return null;
  return (
    <div class="pill-place">
      <button type="button" class="pill" onClick={showWaitingLines}>
        {waiting}
      </button>
    </div>
  );
}

function Group({ group, index }: { readonly group: GroupHead; readonly index: number }): JSX.Element {
  const toggle = () => {
    const others = folded.peek().filter((id) => id !== group.id);
    folded.value = group.isFolded ? others : [...others, group.id];
  };
  const isAttention = group.id === "attention";
  const chosen = history.value.next === undefined ? undefined : filterOfGroup(group.id, filter.value);
  const total = useTotal(chosen);
  const troubled = useComputed(() => attention.value.filter((row) => matches(row, filter.value)));
  const markAll = () => {
    const rows = troubled.peek();
    offerUndo(markSeen(rows), rows.length);
    orderNow();
  };
  return (
    <div class="group" role="row" aria-rowindex={index}>
      <div class="who mid grow" role="cell">
        <button type="button" class="fold" aria-expanded={!group.isFolded} onClick={toggle}>
          <Icon name={group.isFolded ? "right" : "down"} />
          <b class="cut">{plain(group.title)}</b> <span>{countOf(group, chosen, total)}</span>
        </button>
        {isAttention ? (
          <span class="three cut not-phone">{useComputed(() => troublesIn(troubled.value.map(lookOf)))}</span>
        ) : null}
      </div>
      {isAttention ? (
        <div role="cell">
          <button type="button" class="btn plain" onClick={markAll}>
            Mark as seen
          </button>
        </div>
      ) : null}
    </div>
  );
}

/** How many operations a group has: all that match, or, where older ones are not loaded, how many are. */
function countOf(group: GroupHead, chosen: Filter | undefined, total: number | undefined): string {
  if (chosen !== undefined && total !== undefined) {
    const above = attention.value.filter((row) => matches(row, chosen)).length;
    return grouped(Math.max(group.listed, total - above));
  }
  const counted = totals.value;
  if (group.id === "ended" && counted !== undefined) {
    const above = attention.value.filter((row) => !isLive(row) && matches(row, filter.value)).length;
    return grouped(Math.max(group.listed, endedTotal(counted) - above));
  }
  const isPart =
    history.value.next !== undefined && group.id !== "attention" && group.id !== "running" && group.id !== "queued";
  return isPart ? `${grouped(group.listed)} loaded` : grouped(group.listed);
}

/** The end of what is loaded; it loads more when it comes into view. */
function More({ index }: { readonly index: number }): JSX.Element {
  const self = useRef<HTMLDivElement>(null);
  const { status, error } = history.value;
  useEffect(() => {
    const watcher = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) readMore();
    });
    if (self.current !== null) watcher.observe(self.current);
    return () => watcher.disconnect();
  }, []);
  const all = totals.value;
  const loaded = grouped(history.value.rows.length);
  const ended = all === undefined ? "" : ` of ${grouped(endedTotal(all))}`;
  return (
    <div ref={self} class="more-line" role="row" aria-rowindex={index}>
      <div role="cell">
        {status === "failed"
          ? `Older operations were not loaded: ${error?.message ?? ""} `
          : `${loaded}${ended} ended operations are loaded. `}
        <button type="button" class="btn plain" disabled={status === "loading"} onClick={readMore}>
          {status === "loading" ? "Loading" : "Load more"}
        </button>
      </div>
    </div>
  );
}

function endedTotal(counted: NonNullable<typeof totals.value>): number {
  const { states } = filter.value;
  const wanted = ENDED_STATES.filter((state) => states.size === 0 || states.has(state));
  return wanted.reduce((sum, state) => sum + counted[state], 0);
}

/** The scrolled lines of a log, of which only the visible ones exist. It stays at the end, or where the reader is. */

import { useSignal } from "@preact/signals";
import { elementScroll, observeElementOffset, observeElementRect, Virtualizer } from "@tanstack/virtual-core";
import type { JSX, RefObject } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { followsAfterScroll, type ScrollPlace } from "./follow.ts";
import { keyOf, type LogRow } from "./log-rows.ts";

/** Height of one line of text, in pixels, as in log.css. */
const LINE_PX = 20;
/** Rows drawn above and below what is visible. */
const OVERSCAN = 20;

/** What can be done with the lines from outside. */
export interface LogLinesHandle {
  /** Brings a row into the middle of the view. */
  show(index: number): void;
  /** The first row in view. */
  first(): LogRow | undefined;
  readonly element: HTMLElement;
}

export interface LogLinesProps {
  readonly rows: readonly LogRow[];
  /** Changes when heights change: wrapping, width of the columns. */
  readonly layout: string;
  readonly isFollowing: boolean;
  readonly onFollow: (following: boolean) => void;
  readonly handle: RefObject<LogLinesHandle>;
  readonly class: string;
  readonly draw: (row: LogRow) => JSX.Element;
}

/** The lines. */
export function LogLines(props: LogLinesProps): JSX.Element {
  const { rows, layout, isFollowing, onFollow, handle, draw } = props;
  const box = useRef<HTMLElement>(null);
  const version = useSignal(0);
  const place = useRef<ScrollPlace>({ top: 0, height: 0, viewport: 0 });
  const following = useRef(isFollowing);
  following.current = isFollowing;
  const virtual = useMemo(
    () =>
      new Virtualizer<HTMLElement, HTMLElement>({
        count: 0,
        getScrollElement: () => box.current,
        estimateSize: () => LINE_PX,
        observeElementRect,
        observeElementOffset,
        scrollToFn: elementScroll,
        initialRect: { width: 800, height: 400 },
      }),
    [],
  );
  virtual.setOptions({
    ...virtual.options,
    count: rows.length,
    overscan: OVERSCAN,
    getItemKey: (index) => keyOf(rows[index] as LogRow),
    estimateSize: (index) => LINE_PX * linesOf(rows[index]),
    onChange: () => {
      version.value += 1;
    },
  });
  useMemo(() => virtual.measure(), [virtual, layout]);
  useLayoutEffect(() => virtual._didMount(), [virtual]);
  useLayoutEffect(() => virtual._willUpdate());
  useLayoutEffect(() => {
    const element = box.current;
    if (element === null) return;
    if (following.current) element.scrollTop = element.scrollHeight;
    place.current = placeOf(element);
  });
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    handle.current = {
      element,
      show: (index) => virtual.scrollToIndex(index, { align: "center" }),
      first: () => {
        const item = virtual.getVirtualItemForOffset(element.scrollTop);
        return item === undefined ? undefined : rows[item.index];
      },
    };
  }, [handle, virtual, rows]);

  const onScroll = (event: JSX.TargetedEvent<HTMLElement>) => {
    const now = placeOf(event.currentTarget);
    const follows = followsAfterScroll(following.current, place.current, now);
    place.current = now;
    if (follows !== following.current) onFollow(follows);
  };

  void version.value;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <section ref={box} class={props.class} tabIndex={0} aria-label="Log lines" onScroll={onScroll}>
      <ol class="log-size" style={{ height: `${virtual.getTotalSize()}px` }}>
        {virtual.getVirtualItems().map((item) => {
          const row = rows[item.index];
          if (row === undefined) return null;
          return (
            <li
              key={item.key}
              ref={virtual.measureElement}
              data-index={item.index}
              class="log-slot"
              aria-setsize={rows.length}
              aria-posinset={item.index + 1}
              style={{ transform: `translateY(${item.start}px)` }}
            >
              {draw(row)}
            </li>
          );
        })}
      </ol>
    </section>
  );
}

function placeOf(element: HTMLElement): ScrollPlace {
  return { top: element.scrollTop, height: element.scrollHeight, viewport: element.clientHeight };
}

/** Lines of text in a row, before any of them is wrapped. */
function linesOf(row: LogRow | undefined): number {
  if (row === undefined) return 1;
  let lines = 1;
  for (let at = row.text.indexOf("\n"); at >= 0; at = row.text.indexOf("\n", at + 1)) lines++;
  return lines;
}

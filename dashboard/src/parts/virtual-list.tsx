/** A long list in the scrolling page, of which only the visible rows exist. */

import { type ReadonlySignal, useComputed, useSignal } from "@preact/signals";
import { observeWindowOffset, observeWindowRect, Virtualizer, windowScroll } from "@tanstack/virtual-core";
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";

/** Rows drawn above and below what is visible. */
const OVERSCAN = 12;

/** Rows drawn at most on paper. */
const MAX_PRINTED = 2_000;

/** Properties of {@link VirtualList}. */
export interface VirtualListProps<Row> {
  readonly rows: readonly Row[];
  /** A key that belongs to the row and not to its place: the DOM nodes of a row stay with it. */
  readonly keyOf: (row: Row) => string;
  /** Height of a row in pixels. */
  readonly heightOf: (row: Row) => number;
  /** Draws a row. `index` is its place among all rows. */
  readonly children: (row: Row, index: number) => ComponentChildren;
  /** Called with the list's own functions, to scroll to a row from outside. */
  readonly handle?: { current: VirtualListHandle | null };
  /** Height at the top of the window that something sticky covers, in pixels. */
  readonly covered?: number;
}

/** What can be done with a list from outside. */
export interface VirtualListHandle {
  /** Brings a row into view, with as little scrolling as possible. */
  readonly scrollTo: (index: number) => void;
  /** Rows that fit the window. */
  readonly pageSize: () => number;
}

/**
 * A virtual list in the window's scroll. When rows come or go above, the first visible row stays where it is, unless
 * the top of the list is in view.
 */
export function VirtualList<Row>(props: VirtualListProps<Row>): JSX.Element {
  const { rows, keyOf, heightOf, children, handle, covered = 0 } = props;
  const box = useRef<HTMLDivElement>(null);
  const version = useSignal(0);
  const anchor = useRef<Anchor | null>(null);
  const virtual = useMemo(
    () =>
      new Virtualizer<Window, HTMLElement>({
        count: 0,
        getScrollElement: () => window,
        estimateSize: () => 0,
        observeElementRect: observeWindowRect,
        observeElementOffset: observeWindowOffset,
        scrollToFn: windowScroll,
      }),
    [],
  );
  // Read when something changes the height of the page, and not with each step of a scroll: reading it makes a layout.
  const top = useSignal(0);
  const scrollMargin = top.value;
  const overscan = usePrinting() ? MAX_PRINTED : OVERSCAN;
  virtual.setOptions({
    ...virtual.options,
    count: rows.length,
    overscan,
    initialRect: { width: innerWidth, height: innerHeight },
    scrollMargin,
    scrollPaddingStart: covered,
    getItemKey: (index) => keyOf(at(rows, index)),
    estimateSize: (index) => heightOf(at(rows, index)),
    onChange: () => {
      version.value += 1;
    },
  });
  // Heights follow the rows, and the width of the window: measured ones must not outlive them.
  useMemo(() => virtual.measure(), [virtual, rows, heightOf]);

  useLayoutEffect(() => virtual._didMount(), [virtual]);
  useLayoutEffect(() => virtual._willUpdate());
  useLayoutEffect(() => {
    const measure = () => {
      if (box.current !== null) top.value = topOf(box.current);
    };
    measure();
    const watcher = new ResizeObserver(measure);
    watcher.observe(document.body);
    return () => watcher.disconnect();
  }, [top]);
  // Of the rows as they were drawn last: what is drawn now may have other rows above.
  const before = anchor.current;
  useLayoutEffect(() => {
    const place = before === null ? undefined : rows.findIndex((row) => keyOf(row) === before.key);
    if (before !== null && place !== undefined && place >= 0) {
      const start = virtual.measurementsCache[place]?.start;
      const moved = start === undefined ? 0 : start - before.start;
      if (moved !== 0) scrollBy({ top: moved, behavior: "instant" });
    }
  }, [rows]);
  useLayoutEffect(() => {
    anchor.current = findAnchor(virtual, covered);
  });
  useEffect(() => {
    if (handle === undefined) return;
    handle.current = {
      scrollTo: (index) => virtual.scrollToIndex(index, { align: "auto" }),
      pageSize: () => Math.max(1, Math.floor((innerHeight - covered) / Math.max(1, virtual.options.estimateSize(0)))),
    };
    return () => {
      handle.current = null;
    };
  }, [handle, virtual, covered]);

  void version.value;
  const items = virtual.getVirtualItems();
  return (
    <div ref={box} class="virtual" role="presentation" style={{ height: `${virtual.getTotalSize()}px` }}>
      {items.map((item) => {
        const row = rows[item.index];
        if (row === undefined) return null;
        return (
          <div
            key={item.key}
            class="slot"
            role="presentation"
            style={{ transform: `translateY(${item.start - scrollMargin}px)` }}
          >
            {children(row, item.index)}
          </div>
        );
      })}
    </div>
  );
}

interface Anchor {
  readonly key: string;
  readonly start: number;
}

/** The first visible row, unless the top of the list is in view. */
function findAnchor(virtual: Virtualizer<Window, HTMLElement>, covered: number): Anchor | null {
  const offset = (virtual.scrollOffset ?? 0) + covered;
  if (offset <= virtual.options.scrollMargin) return null;
  const item = virtual.getVirtualItemForOffset(offset);
  return item === undefined ? null : { key: String(item.key), start: item.start };
}

function at<Row>(rows: readonly Row[], index: number): Row {
  const row = rows[index];
  if (row === undefined) throw new RangeError(`no row ${index} of ${rows.length}`);
  return row;
}

function topOf(element: HTMLElement): number {
  return Math.round(element.getBoundingClientRect().top + scrollY);
}

/** Whether the page is being printed: paper does not scroll. */
function usePrinting(): boolean {
  const isPrinting = useSignal(false);
  useEffect(() => {
    const follow = (event: Event) => {
      isPrinting.value = event.type === "beforeprint";
    };
    addEventListener("beforeprint", follow);
    addEventListener("afterprint", follow);
    return () => {
      removeEventListener("beforeprint", follow);
      removeEventListener("afterprint", follow);
    };
  }, [isPrinting]);
  return isPrinting.value;
}

/** Height of a row as the style sheet has it, in pixels; it depends on the width of the window. */
export function useRowHeight(variable: "--row" | "--head"): ReadonlySignal<number> {
  const width = useSignal(innerWidth);
  useEffect(() => {
    const follow = () => {
      width.value = innerWidth;
    };
    addEventListener("resize", follow);
    return () => removeEventListener("resize", follow);
  }, [width]);
  return useComputed(() => {
    void width.value;
    return Number.parseFloat(getComputedStyle(document.documentElement).getPropertyValue(variable)) || 34;
  });
}

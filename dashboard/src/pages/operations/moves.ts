/** Moving through the list with the keyboard, and coming back to where it was. */

import { signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { announce } from "../../announcer.ts";
import { attention, markSeen } from "../../attention.ts";
import { lookOf } from "../../format/operation.ts";
import { type Command, useCommands } from "../../keys.ts";
import { copyText } from "../../parts/copy.tsx";
import type { VirtualListHandle } from "../../parts/virtual-list.tsx";
import { changeFilter } from "./address.ts";
import { takeComingBack } from "./last-list.ts";
import { filter, lines, rowOf, showWaitingLines } from "./model.ts";
import type { Line } from "./order.ts";
import { commandFor, whyNotCancel } from "./row-menu.tsx";
import { offerUndo, undoSeen } from "./seen.tsx";
import { askedToCancel, isSelecting, stopSelecting, toggleChosen } from "./selection.ts";

/** Id of the operation that the arrows have reached; it stays when the reader comes back to the list. */
export const current = signal<string | undefined>(undefined);

/** Frames that a row may take to come into being. */
const MAX_FRAMES = 10;

/** Steps through the list. */
export type Step = "next" | "previous" | "first" | "last" | "page-down" | "page-up";

/** Place of the row that a step leads to; -1 if there is none. */
export function findRow(rows: readonly Line[], from: number, step: Step, page: number): number {
  const isRow = (line: Line) => line.kind === "row";
  const after = (start: number) => rows.findIndex((line, index) => index >= start && isRow(line));
  const before = (end: number) => rows.findLastIndex((line, index) => index <= end && isRow(line));
  switch (step) {
    case "next":
      return after(from + 1);
    case "previous":
      return before(from - 1);
    case "first":
      return after(0);
    case "last":
      return before(rows.length - 1);
    case "page-down": {
      const found = after(Math.min(from + page, rows.length - 1));
      return found >= 0 ? found : before(rows.length - 1);
    }
    case "page-up": {
      const found = before(Math.max(from - page, 0));
      return found >= 0 ? found : after(0);
    }
  }
}

type Ref<T> = { readonly current: T | null };

/** Adds the keys of the list while it is shown. `stop` is the row that Tab reaches. */
export function useListKeys(list: Ref<HTMLElement>, handle: Ref<VirtualListHandle>, stop: string | undefined): void {
  const reached = useMemo(() => ({ stop }), []);
  reached.stop = stop;
  const commands = useMemo(() => commandsFor(list, handle, reached), [list, handle, reached]);
  useCommands(commands);
  useEffect(() => {
    if (takeComingBack() && current.peek() !== undefined) focusWhenThere(list, current.peek() ?? "", MAX_FRAMES);
  }, [list]);
  useEffect(() => {
    const follow = (event: FocusEvent) => {
      const row = event.target instanceof Element ? event.target.closest<HTMLElement>("[data-operation]") : null;
      const id = row?.dataset["operation"];
      if (id !== undefined) current.value = id;
    };
    const element = list.current;
    element?.addEventListener("focusin", follow);
    return () => element?.removeEventListener("focusin", follow);
  }, [list]);
}

function commandsFor(
  list: Ref<HTMLElement>,
  handle: Ref<VirtualListHandle>,
  reached: { readonly stop: string | undefined },
): readonly Command[] {
  const goTo = (target: number): boolean => {
    const line = lines.peek()[target];
    if (line === undefined) return false;
    current.value = line.key;
    handle.current?.scrollTo(target);
    focusWhenThere(list, line.key, MAX_FRAMES);
    return true;
  };
  const place = () => lines.peek().findIndex((line) => line.key === (current.peek() ?? reached.stop));
  const hasFocus = () => list.current?.contains(document.activeElement) === true;
  const move = (step: Step) => {
    // The first key leads to the row that is reached, the next ones from there.
    const isIn = hasFocus();
    const from = isIn || step !== "next" ? place() : place() - 1;
    return goTo(findRow(lines.peek(), from, step, handle.current?.pageSize() ?? 1));
  };
  /** In the list, or where the keyboard is nowhere in particular. */
  const nearby = (step: Step) => (hasFocus() || isNowhere() ? move(step) : false);
  const inside = (step: Step) => () => (hasFocus() ? move(step) : false);
  const withRow = (run: (row: NonNullable<ReturnType<typeof rowOf>>) => unknown) => () => {
    const row = hasFocus() ? rowOf(current.peek() ?? "") : undefined;
    return row === undefined ? false : run(row);
  };
  const nextTrouble = () => {
    const isTrouble = (line: Line) => {
      const row = line.kind === "row" ? rowOf(line.operationId) : undefined;
      return row !== undefined && lookOf(row) === "failed";
    };
    const rows = lines.peek();
    const after = rows.findIndex((line, index) => index > place() && isTrouble(line));
    return goTo(after >= 0 ? after : rows.findIndex(isTrouble));
  };
  return [
    {
      keys: ["ArrowDown", "j"],
      does: "the next row",
      run: (event) => (event.key === "j" ? move("next") : nearby("next")),
    },
    {
      keys: ["ArrowUp", "k"],
      does: "the row before",
      run: (event) => (event.key === "k" ? move("previous") : nearby("previous")),
    },
    {
      keys: ["Home", "End"],
      does: "the first row, the last row",
      run: (event) => inside(event.key === "Home" ? "first" : "last")(),
    },
    {
      keys: ["PageUp", "PageDown"],
      does: "a page of rows",
      run: (event) => inside(event.key === "PageUp" ? "page-up" : "page-down")(),
    },
    { keys: ["Enter"], does: "open the row", run: () => false },
    { keys: ["e"], does: "the next failed row", run: nextTrouble },
    { keys: ["f"], does: "only what failed, or everything again", run: toggleFailed },
    { keys: ["."], does: "show what is new", run: showWaitingLines },
    { keys: ["x"], does: "choose the row", run: withRow((row) => toggleChosen(row.operation_id)) },
    { keys: ["c"], does: "cancel the row, after a question", run: withRow(askToCancel) },
    { keys: ["y"], does: "copy the row as a command", run: withRow(copyCommand) },
    { keys: ["m"], does: "mark the row as seen", run: withRow(markRow) },
    { keys: ["u"], does: "undo that it was marked", run: undoSeen },
    { keys: ["Escape"], does: "leave the chosen rows, then the list", run: () => leave(hasFocus()) },
  ];
}

function focusWhenThere(list: Ref<HTMLElement>, key: string, frames: number): void {
  requestAnimationFrame(() => {
    const rows = Array.from(list.current?.querySelectorAll<HTMLElement>("[data-operation]") ?? []);
    const row = rows.find((each) => each.dataset["operation"] === key);
    if (row !== undefined) row.querySelector<HTMLElement>("a.name")?.focus({ preventScroll: true });
    else if (frames > 1) focusWhenThere(list, key, frames - 1);
  });
}

function isNowhere(): boolean {
  const at = document.activeElement;
  return at === null || at === document.body || at.id === "main";
}

function toggleFailed(): void {
  const states = filter.peek().states;
  const isOn = states.size === 1 && states.has("failed");
  changeFilter({ states: new Set(isOn ? [] : (["failed"] as const)) });
}

function askToCancel(row: NonNullable<ReturnType<typeof rowOf>>): void {
  const whyNot = whyNotCancel(row);
  if (whyNot === "") askedToCancel.value = row.operation_id;
  else announce(`Not possible: ${whyNot}`);
}

async function copyCommand(row: NonNullable<ReturnType<typeof rowOf>>): Promise<void> {
  announce((await copyText(commandFor(row))) ? "Copied" : "Not copied");
}

function markRow(row: NonNullable<ReturnType<typeof rowOf>>): unknown {
  if (!attention.peek().some((each) => each.operation_id === row.operation_id)) return false;
  offerUndo(markSeen([row]), 1);
  return true;
}

function leave(hasFocus: boolean): unknown {
  if (isSelecting.peek()) return stopSelecting();
  if (!hasFocus || !(document.activeElement instanceof HTMLElement)) return false;
  document.activeElement.blur();
  return true;
}

/** Milliseconds without a scroll after which it has ended. */
const SCROLL_END_MS = 100;

let remembered = { search: "", top: 0 };

/** Brings the reader back to where the list was scrolled, if it is the same list. */
export function useScrollMemory(): void {
  const query = filter.value;
  useEffect(() => {
    const search = location.search;
    if (remembered.search === search && remembered.top > 0) scrollTo({ top: remembered.top, behavior: "instant" });
    let timer: ReturnType<typeof setTimeout> | undefined;
    // Asked when the scroll has ended: during it, each answer would make the browser lay the page out.
    const follow = () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        remembered = { search, top: scrollY };
      }, SCROLL_END_MS);
    };
    addEventListener("scroll", follow, { passive: true });
    return () => {
      clearTimeout(timer);
      removeEventListener("scroll", follow);
    };
  }, [query]);
}

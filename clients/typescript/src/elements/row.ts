/** One operation as DOM nodes, which stay the same while its values change. */

import type { Operation } from "../operations/operation.ts";
import { describeActivity, describeProgress, describeTime, type Look, lookOf, titleOf, wordOf } from "./text.ts";

/** Shapes of the states: never a colour alone. */
const MARKS: Readonly<Record<Look, string>> = {
  queued: "○",
  running: "▶",
  complete: "✓",
  failed: "✕",
  cancelled: "⊘",
  away: "?",
  stalled: "‖",
  stopping: "■",
};

const PARTS = ["mark", "name", "bar", "percent", "time", "activity", "word"] as const;

/** The nodes of one operation. */
export class Row {
  readonly node = element("div", "row");
  readonly #parts: Readonly<Record<(typeof PARTS)[number], HTMLElement>>;
  readonly #fill = element("div", "fill");
  #shown: Operation | undefined;

  constructor() {
    const entries = PARTS.map((name) => [name, element(name === "bar" ? "div" : "span", name)] as const);
    this.#parts = Object.fromEntries(entries) as Record<(typeof PARTS)[number], HTMLElement>;
    const { bar, mark } = this.#parts;
    bar.setAttribute("role", "progressbar");
    bar.setAttribute("aria-valuemin", "0");
    bar.setAttribute("aria-valuemax", "100");
    bar.append(this.#fill);
    mark.setAttribute("aria-hidden", "true");
    this.node.append(...entries.map(([, node]) => node));
  }

  /** Shows an operation; writes only what differs from what is shown. */
  show(operation: Operation): void {
    if (operation === this.#shown) return;
    this.#shown = operation;
    const { activity, bar, mark, name, percent, time, word } = this.#parts;
    const look = lookOf(operation);
    const isUnknown = operation.indeterminate === true || operation.progress === undefined;
    set(this.node, "data-look", look);
    write(mark, MARKS[look]);
    write(name, titleOf(operation));
    set(name, "title", `${titleOf(operation)} (${operation.operation_id})`);
    write(percent, describeProgress(operation));
    write(time, describeTime(operation));
    write(word, wordOf(look));
    write(activity, describeActivity(operation));
    set(activity, "title", describeActivity(operation));
    set(bar, "aria-label", titleOf(operation));
    set(bar, "aria-valuenow", isUnknown ? undefined : String(Math.floor(operation.progress ?? 0)));
    set(
      bar,
      "aria-valuetext",
      [describeProgress(operation), wordOf(look), describeTime(operation)].filter(Boolean).join(", "),
    );
    set(bar, "data-indeterminate", isUnknown && operation.state === "running" ? "" : undefined);
    // Not as an attribute: a page's policy may forbid styles that are text.
    this.#fill.style.width = isUnknown ? "" : `${operation.progress}%`;
  }
}

/** Returns an element with a class and a part of that name. */
export function element(tag: string, name: string): HTMLElement {
  const made = document.createElement(tag);
  made.className = name;
  made.setAttribute("part", name);
  return made;
}

/** Changes a text, if it is another one. */
export function write(node: HTMLElement, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

/** Changes or removes an attribute, if it has another value. */
export function set(node: HTMLElement, name: string, value: string | undefined): void {
  if (value === undefined) node.removeAttribute(name);
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

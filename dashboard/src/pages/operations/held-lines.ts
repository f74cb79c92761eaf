/**
 * Rows stay where the pointer is: while a list is held, lines are not moved, added or removed, and changes that wait are
 * counted. Values of rows still change; this module does not handle them.
 */

import type { Line } from "./order.ts";

/** What is shown, and what waits. */
export interface HeldLines {
  readonly shown: readonly Line[];
  /** The order that is shown when the list is let go. */
  readonly wanted: readonly Line[];
  readonly isHeld: boolean;
}

export const NO_LINES: HeldLines = { shown: [], wanted: [], isHeld: false };

/** Takes a new order: shows it, or keeps it until the list is let go. */
export function takeOrder(lines: HeldLines, wanted: readonly Line[]): HeldLines {
  if (!lines.isHeld) return { shown: wanted, wanted, isHeld: false };
  return { ...lines, wanted, shown: withNewHeads(lines.shown, wanted) };
}

/** Holds the list, or lets it go. */
export function hold(lines: HeldLines, isHeld: boolean): HeldLines {
  if (isHeld === lines.isHeld) return lines;
  return isHeld ? { ...lines, isHeld } : { shown: lines.wanted, wanted: lines.wanted, isHeld };
}

/** Shows what waits, and keeps holding. */
export function showWaiting(lines: HeldLines): HeldLines {
  return { ...lines, shown: lines.wanted };
}

/** The counts in the heads of groups are values, too. */
function withNewHeads(shown: readonly Line[], wanted: readonly Line[]): readonly Line[] {
  const heads = new Map(wanted.filter((line) => line.kind === "group").map((line) => [line.key, line]));
  return shown.map((line) => (line.kind === "group" ? (heads.get(line.key) ?? line) : line));
}

/** What waits while a list is held. */
export interface Waiting {
  /** Operations that are not in the list. */
  readonly added: number;
  /** Whether those in it would move or go. */
  readonly isReordered: boolean;
}

/** Counts what waits. */
export function countWaiting({ shown, wanted }: HeldLines): Waiting {
  if (shown === wanted) return { added: 0, isReordered: false };
  const known = new Set(shown.map((line) => line.key));
  const added = wanted.filter((line) => line.kind === "row" && !known.has(line.key)).length;
  const rest = wanted.filter((line) => known.has(line.key));
  const isReordered = rest.length !== shown.length || rest.some((line, index) => line.key !== shown[index]?.key);
  return { added, isReordered };
}

/** Words of the pill: `3 new · reorder`; empty if nothing waits. */
export function describeWaiting({ added, isReordered }: Waiting): string {
  const parts = [added > 0 ? `${added} new` : "", isReordered ? "reorder" : added > 0 ? "show them" : ""];
  return parts.filter(Boolean).join(" · ");
}

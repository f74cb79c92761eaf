import { describe, expect, test } from "vitest";
import type { Row } from "../../src/format/row.ts";
import { readFilter } from "../../src/pages/operations/filter.ts";
import {
  countWaiting,
  describeWaiting,
  hold,
  NO_LINES,
  showWaiting,
  takeOrder,
} from "../../src/pages/operations/held-lines.ts";
import { type Line, orderLines, takeSnapshot } from "../../src/pages/operations/order.ts";
import { minute, row } from "../rows.ts";

const EVERYTHING = readFilter(new URLSearchParams());

function order(rows: readonly Row[], options: Partial<Parameters<typeof orderLines>[0]> = {}): readonly string[] {
  const input = { rows, attention: new Set<string>(), filter: EVERYTHING, folded: new Set<string>(), ...options };
  return keys(orderLines(input));
}

function keys(lines: readonly Line[]): readonly string[] {
  return lines.map((line) => (line.kind === "group" ? `${line.group.title} ${line.group.listed}` : line.key));
}

describe("the order", () => {
  const rows = [
    row("old", { state: "complete", ended_at: minute(2) }),
    row("early", { started_at: minute(1) }),
    row("late", { started_at: minute(5) }),
    row("waits", { state: "queued", queued_at: minute(4) }),
    row("new", { state: "cancelled", ended_at: minute(8) }),
    row("broken", { state: "failed", ended_at: minute(1) }),
    row("away", { presence: "away", started_at: minute(9) }),
  ];

  test("attention is on top, then running, queued and ended, the newest first", () => {
    expect(order(rows, { attention: new Set(["broken", "away"]) })).toEqual([
      "Needs attention 2",
      "broken",
      "away",
      "Running 2",
      "late",
      "early",
      "Queued 1",
      "waits",
      "Ended 2",
      "new",
      "old",
    ]);
  });

  test("a folded group keeps its head and its count", () => {
    expect(order(rows, { folded: new Set(["ended"]) }).slice(-1)).toEqual(["Ended 3"]);
  });

  test("progress never changes the order, whatever it is sorted by", () => {
    const filter = { ...EVERYTHING, sort: "progress" as const };
    const before = [row("a", { progress: 10 }), row("b", { progress: 20 })];
    const snapshot = takeSnapshot(before, "progress");
    const after = [row("a", { progress: 90 }), row("b", { progress: 21 })];
    expect(order(before, { filter, snapshot })).toEqual(order(after, { filter, snapshot }));
    expect(order(after, { filter, snapshot: takeSnapshot(after, "progress") })).toEqual(["Running 2", "a", "b"]);
  });

  test("unknown remaining times come last", () => {
    const filter = { ...EVERYTHING, sort: "remaining" as const };
    const all = [row("none"), row("much", { estimate: { remaining_s: 90, stalled: false } }), row("done", {})];
    expect(order(all, { filter, snapshot: takeSnapshot(all, "remaining") })[1]).toBe("much");
  });

  test("groups by name are sorted as people count", () => {
    const filter = { ...EVERYTHING, group: "name" as const };
    const all = [row("a", { name: "job 10" }), row("b", { name: "job 9" })];
    expect(order(all, { filter })).toEqual(["job 9 1", "b", "job 10 1", "a"]);
  });

  test("without groups there are no heads", () => {
    expect(order([row("a")], { filter: { ...EVERYTHING, group: "none" } })).toEqual(["a"]);
  });
});

describe("a held list", () => {
  const line = (key: string): Line => ({ kind: "row", key, operationId: key });
  const head = (listed: number): Line => ({
    kind: "group",
    key: "group running",
    group: { id: "running", title: "Running", listed, isFolded: false },
  });
  const first = takeOrder(NO_LINES, [head(2), line("a"), line("b")]);

  test("rows neither move, come nor go, and are counted", () => {
    const held = takeOrder(hold(first, true), [head(3), line("c"), line("d"), line("b")]);
    expect(keys(held.shown)).toEqual(["Running 3", "a", "b"]);
    expect(countWaiting(held)).toEqual({ added: 2, isReordered: true });
    expect(describeWaiting(countWaiting(held))).toBe("2 new · reorder");
  });

  test("let go, it shows what waited", () => {
    const held = takeOrder(hold(first, true), [head(3), line("a"), line("b"), line("c")]);
    expect(describeWaiting(countWaiting(held))).toBe("1 new · show them");
    expect(keys(hold(held, false).shown)).toEqual(["Running 3", "a", "b", "c"]);
    expect(describeWaiting(countWaiting(hold(held, false)))).toBe("");
  });

  test("asked, it shows what waited and stays held", () => {
    const shown = showWaiting(takeOrder(hold(first, true), [head(1), line("b")]));
    expect([keys(shown.shown), shown.isHeld]).toEqual([["Running 1", "b"], true]);
  });

  test("not held, it follows", () => {
    expect(keys(takeOrder(first, [line("b")]).shown)).toEqual(["b"]);
  });
});

import { expect, test } from "vitest";
import type { Row as Operation } from "../../src/format/row.ts";
import { describeDay, layOutWall, rowsThatFit } from "../../src/pages/wall/layout.ts";
import { reasonToReload, reloadDelayMs, type WallCondition } from "../../src/pages/wall/reload.ts";

const NOW = Date.parse("2026-11-29T02:15:00Z");
const at = (secondsAgo: number) => new Date(NOW - secondsAgo * 1000).toISOString();
let number = 0;

function operation(name: string, state: string, secondsAgo: number, more: object = {}): Operation {
  const time =
    state === "running"
      ? { started_at: at(secondsAgo) }
      : state === "queued"
        ? { queued_at: at(secondsAgo) }
        : { ended_at: at(secondsAgo) };
  return {
    operation_id: `op-${++number}`,
    name,
    state,
    attempt: 1,
    trace_id: "t",
    heard_at: at(0),
    ...time,
    ...more,
  } as Operation;
}
const names = (operations: readonly Operation[], capacity = 20) =>
  layOutWall(operations, capacity, NOW).rows.map((row) => row.name);

test("the troubled names come first", () => {
  const operations = [
    operation("ended", "complete", 5),
    operation("waits", "queued", 5),
    operation("runs", "running", 60),
    operation("stuck", "running", 60, { stalled: true }),
    operation("gone", "running", 60, { presence: "away" }),
    operation("broken", "failed", 600),
  ];
  expect(names(operations)).toEqual(["broken", "gone", "stuck", "runs", "waits", "ended"]);
});

test("what does not fit is counted, and its trouble too", () => {
  const operations = Array.from({ length: 30 }, (_, index) =>
    operation(`n${index}`, index < 12 ? "failed" : "running", index),
  );
  const view = layOutWall(operations, 10, NOW);
  expect(view.rows).toHaveLength(10);
  expect([view.more, view.moreTroubled, view.running, view.failed]).toEqual([20, 2, 18, 12]);
});

test("a name has one row, of its gravest run", () => {
  const operations = [
    operation("a", "running", 10),
    operation("a", "running", 20, { stalled: true }),
    operation("a", "queued", 1),
    operation("a", "complete", 500),
  ];
  const [row, ...rest] = layOutWall(operations, 10, NOW).rows;
  expect(rest).toEqual([]);
  expect([row?.look, row?.others, row?.afterFailure]).toEqual(["stalled", 2, false]);
});

test("a failure leaves when a later run completes, and stays a note while one runs", () => {
  const failed = operation("a", "failed", 500);
  expect(layOutWall([failed, operation("a", "complete", 100)], 9, NOW).rows[0]?.look).toBe("complete");
  const view = layOutWall([failed, operation("a", "running", 100)], 9, NOW);
  expect([view.rows[0]?.look, view.rows[0]?.afterFailure, view.failed]).toEqual(["running", true, 1]);
});

test("old news leave the wall", () => {
  expect(names([operation("a", "failed", 40 * 3_600), operation("b", "complete", 13 * 3_600)])).toEqual([]);
  expect(names([operation("a", "failed", 30 * 3_600), operation("b", "complete", 11 * 3_600)])).toEqual(["a", "b"]);
});

test("operations without a name are rows of their own", () => {
  expect(names([operation("", "running", 1), operation("", "running", 2)])).toHaveLength(2);
});

test("the order is the same whatever order the operations came in", () => {
  const operations = ["c", "a", "b"].map((name) => operation(name, "running", 60));
  expect(names(operations)).toEqual(names(operations.toReversed()));
});

test("at least one row is shown", () => {
  expect(rowsThatFit(100, 40)).toBe(2);
  expect(rowsThatFit(10, 40)).toBe(1);
  expect(rowsThatFit(10, 0)).toBe(1);
});

test("a night belongs to the day on which it began", () => {
  expect(describeDay(Date.parse("2026-11-30T02:15:00Z"), "utc")).toBe("Night of 29 November");
  expect(describeDay(Date.parse("2026-11-29T23:15:00Z"), "utc")).toBe("Night of 29 November");
  expect(describeDay(Date.parse("2026-11-30T12:00:00Z"), "utc")).toBe("Monday 30 November");
});

const CONDITION: WallCondition = {
  loadedBuild: "a",
  servedBuild: "a",
  reloadedFor: undefined,
  isLive: true,
  ageMs: 3_600_000,
  hour: 14,
};

test.each<[string, Partial<WallCondition>, string | null]>([
  ["nothing changed", {}, null],
  ["another build is served", { servedBuild: "b" }, "upgrade"],
  ["the reload did not bring that build", { servedBuild: "b", reloadedFor: "b" }, null],
  ["a third build follows", { servedBuild: "c", reloadedFor: "b" }, "upgrade"],
  ["the hub does not answer", { servedBuild: "b", isLive: false }, null],
  ["the build is unknown", { servedBuild: undefined }, null],
  ["it is night and the page old", { hour: 3, ageMs: 20 * 3_600_000 }, "night"],
  ["it is night and the page was just loaded", { hour: 4 }, null],
  ["the page is old by day", { ageMs: 20 * 3_600_000 }, null],
])("reload when %s: %j", (_, condition, expected) => {
  expect(reasonToReload({ ...CONDITION, ...condition })).toBe(expected);
});

test("the walls of one hub do not reload together", () => {
  expect([reloadDelayMs(0), reloadDelayMs(0.5)]).toEqual([0, 15_000]);
});

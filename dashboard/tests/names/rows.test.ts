import { expect, test } from "vitest";
import type { Row as Operation } from "../../src/format/row.ts";
import { isOf, lastFailed, matchesText, type NameView, nameRows } from "../../src/pages/names/rows.ts";

const NOW = Date.parse("2026-11-29T02:15:00Z");
const at = (secondsAgo: number) => new Date(NOW - secondsAgo * 1000).toISOString();

function operation(name: string, state: string, more: object = {}): Operation {
  const operation_id = `${name}-${state}`;
  return { operation_id, name, state, attempt: 1, trace_id: "t", heard_at: at(1), ...more } as Operation;
}

function view(name: string, states: readonly ("complete" | "failed" | "cancelled")[], secondsAgo = 60): NameView {
  const recent = states.map((state, index) => ({
    operation_id: `${name}/${index}`,
    attempt: 1,
    state,
    ended_at: at(secondsAgo + states.length - index),
    duration_s: 60,
  }));
  const newest = operation(name, states.at(-1) ?? "complete", { ended_at: at(secondsAgo) });
  return { name, newest, runs: states.length, failed: 0, median_duration_s: 60, recent };
}

test("trouble comes first, then running, queued and ended names, the newest change first", () => {
  const views = [view("old", ["complete"], 900), view("new", ["complete"], 5), view("broken", ["failed"], 5_000)];
  const live = [
    operation("busy", "running", { started_at: at(30) }),
    operation("stuck", "running", { started_at: at(800), stalled: true }),
    operation("waiting", "queued", { queued_at: at(10) }),
  ];
  const names = nameRows(views, live, NOW).map((row) => row.name);
  expect(names).toEqual(["stuck", "broken", "busy", "waiting", "new", "old"]);
});

test("a live run is the last column, with its time so far", () => {
  const [row] = nameRows(
    [view("a", ["complete", "complete"])],
    [operation("a", "running", { started_at: at(30) })],
    NOW,
  );
  expect(row?.runs.map((run) => run.state)).toEqual(["complete", "complete", "running"]);
  expect(row?.runs.at(-1)?.duration_s).toBe(30);
  expect(row?.look).toBe("running");
});

test("a producer's clock that is ahead makes no negative time", () => {
  const [row] = nameRows([], [operation("a", "running", { started_at: at(-3_600) })], NOW);
  expect(row?.runs[0]?.duration_s).toBe(0);
});

test("a name that only waits has no column yet", () => {
  const [row] = nameRows([], [operation("a", "queued", { queued_at: at(3) })], NOW);
  expect(row?.runs).toEqual([]);
  expect(row?.look).toBe("queued");
});

test("a run that is under way does not hide that the last one failed", () => {
  const [row] = nameRows([view("a", ["complete", "failed"])], [operation("a", "running", { started_at: at(3) })], NOW);
  expect(row !== undefined && lastFailed(row)).toBe(true);
  expect(row !== undefined && isOf(row, "failed")).toBe(true);
});

test("the strip keeps twenty runs, live ones included", () => {
  const many = view(
    "a",
    Array.from({ length: 20 }, () => "complete" as const),
  );
  const [row] = nameRows([many], [operation("a", "running", { started_at: at(3) })], NOW);
  expect(row?.runs).toHaveLength(20);
  expect(row?.runs.at(-1)?.state).toBe("running");
});

test("operations without a name have no row", () => {
  expect(nameRows([], [operation("", "running", { started_at: at(3) })], NOW)).toEqual([]);
});

test("all words have to occur in a name", () => {
  expect(matchesText("Import prices", "PRI imp")).toBe(true);
  expect(matchesText("Import prices", "import rates")).toBe(false);
  expect(matchesText("anything", "")).toBe(true);
});

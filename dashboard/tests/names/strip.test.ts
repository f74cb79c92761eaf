import { expect, test } from "vitest";
import { describeStrip, layOutStrip, medianOf, type Run, type RunState } from "../../src/pages/names/strip.ts";

const run = (state: RunState, duration_s?: number): Run => ({ operation_id: `op-${state}`, state, duration_s });
const runs = (...durations: number[]) => durations.map((seconds) => run("complete", seconds));

test("the newest run is at the right, and a name with few runs leaves the left empty", () => {
  const { columns } = layOutStrip(runs(10, 12, 11), 11);
  expect(columns.map((column) => column.x)).toEqual([85, 90, 95]);
});

test("only the newest twenty runs are drawn", () => {
  const { columns } = layOutStrip(runs(...Array.from({ length: 30 }, (_, index) => index + 1)), 15);
  expect(columns).toHaveLength(20);
  expect(columns[0]?.run.duration_s).toBe(11);
  expect(columns[0]?.x).toBe(0);
});

test("one run that hung does not flatten the others, and is marked as cut", () => {
  const { columns } = layOutStrip([...runs(60, 62, 58), run("complete", 90_000), ...runs(61)], 61);
  const heights = columns.map((column) => column.height);
  expect(Math.min(...heights)).toBeGreaterThan(9);
  expect(columns.map((column) => column.cut)).toEqual([false, false, false, true, false]);
});

test("long runs that happen often are not outliers, and are not cut", () => {
  const { columns } = layOutStrip(runs(10, 40, 11, 42, 10, 41, 10, 39), 10.5);
  expect(columns.map((column) => column.cut)).not.toContain(true);
  const heights = columns.map((column) => column.height);
  expect(Math.max(...heights) / Math.min(...heights)).toBeCloseTo(4.2, 1);
});

test("the line of the usual duration is as high as a run of that duration", () => {
  const { columns, medianY } = layOutStrip(runs(100, 100, 150), 100);
  expect(medianY).toBe(columns[0]?.y);
});

test("each outcome has a shape of its own", () => {
  const states: RunState[] = ["complete", "failed", "cancelled", "running", "stalled", "away"];
  const { columns } = layOutStrip(
    states.map((state) => run(state, 5)),
    5,
  );
  expect(columns.map((column) => column.shape)).toEqual(["solid", "failed", "hollow", "outline", "outline", "outline"]);
});

test("runs without a usable duration keep a column", () => {
  const { columns, medianY } = layOutStrip(
    [run("failed"), run("failed", Number.NaN), run("failed", -1), run("failed", 0)],
    null,
  );
  expect(medianY).toBeNull();
  for (const column of columns) {
    expect(column.height).toBeGreaterThan(0);
    expect(Number.isFinite(column.y)).toBe(true);
    expect(column.cut).toBe(false);
  }
});

test("a strip without runs is empty", () => {
  expect(layOutStrip([], 12)).toEqual({ columns: [], medianY: null });
  expect(describeStrip([])).toBe("No run yet");
});

test("columns never leave the drawing", () => {
  const { columns, medianY } = layOutStrip([...runs(1e-9, 1e9, 0), run("running", 1e12)], 1e-9);
  for (const { y, height } of columns) {
    expect(y).toBeGreaterThanOrEqual(0);
    expect(y + height).toBeLessThanOrEqual(30);
  }
  expect(medianY).toBeGreaterThanOrEqual(0);
});

test("a strip says in words what it shows", () => {
  expect(describeStrip([run("failed"), run("cancelled"), run("complete"), run("running")])).toBe(
    "Last 4 runs: 1 failed, 1 cancelled, 1 not ended",
  );
  expect(describeStrip([run("complete")])).toBe("Last run: none failed");
});

test("the median of an even number of values is between the middle ones", () => {
  expect(medianOf([4, 1, 3, 2])).toBe(2.5);
  expect(medianOf([])).toBeNull();
});

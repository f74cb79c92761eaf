import { describe, expect, test } from "vitest";
import type { OperationDetail } from "../../src/pages/operation/detail.ts";
import { axisOf, timeLineOf } from "../../src/pages/operation/lanes.ts";
import {
  axisMark,
  bandWords,
  chartData,
  curveOf,
  ProgressHistory,
  valueAt,
} from "../../src/pages/operation/progress-series.ts";

const T0 = Date.parse("2026-11-30T02:00:00Z");
const at = (seconds: number) => new Date(T0 + 1_000 * seconds).toISOString();
const detail = (more: Partial<OperationDetail> = {}): OperationDetail => ({
  operation_id: "op-1",
  name: "Import prices",
  state: "running",
  attempt: 1,
  trace_id: "t",
  heard_at: at(0),
  started_at: at(0),
  steps: [],
  timeline: [],
  children: [],
  ...more,
});

describe("the time line", () => {
  const twice = detail({
    attempt: 2,
    attempts: [
      {
        attempt: 1,
        state: "failed",
        queued_at: at(0),
        started_at: at(10),
        ended_at: at(50),
        duration_s: 40,
        code: "boom",
      },
      { attempt: 2, state: "running", started_at: at(80) },
    ],
    started_at: at(80),
    steps: [
      { name: "fetch", state: "done", started_at: at(80), ended_at: at(90) },
      { name: "parse", state: "running", started_at: at(90) },
      { name: "load", state: "waiting" },
    ],
  });

  test("one lane for each attempt, and the steps of the last", () => {
    const line = timeLineOf(twice, T0 + 100_000);
    expect(line?.lanes).toEqual([
      {
        attempt: 1,
        state: "failed",
        isLast: false,
        seconds: 40,
        code: "boom",
        blocks: [
          { name: "queued", kind: "queued", start: 0, width: 10 },
          { name: "", kind: "stopped", start: 10, width: 40 },
        ],
      },
      {
        attempt: 2,
        state: "running",
        isLast: true,
        seconds: 20,
        code: "",
        blocks: [
          { name: "fetch", kind: "done", start: 80, width: 10 },
          { name: "parse", kind: "running", start: 90, width: 10 },
        ],
      },
    ]);
    expect(line === undefined ? [] : axisOf(line, 5)).toEqual([0, 25, 50, 75, 100].map((each) => T0 + 1_000 * each));
  });

  test("clocks that contradict each other make no negative widths", () => {
    const odd = detail({
      attempts: [{ attempt: 1, state: "complete", queued_at: at(20), started_at: at(10), ended_at: at(5) }],
      steps: [{ name: "a", state: "done", started_at: at(500), ended_at: at(-500) }],
    });
    for (const block of timeLineOf(odd, T0)?.lanes[0]?.blocks ?? []) {
      expect(block.width).toBeGreaterThan(0);
      expect(block.start).toBeGreaterThanOrEqual(0);
      expect(block.start + block.width).toBeLessThanOrEqual(100.001);
    }
  });

  test("an attempt of which only the end is known has a mark", () => {
    const ended = detail({
      attempts: [
        { attempt: 1, state: "cancelled", ended_at: at(0) },
        { attempt: 2, state: "running", started_at: at(10) },
      ],
    });
    const [first] = timeLineOf(ended, T0 + 20_000)?.lanes ?? [];
    expect(first?.blocks).toEqual([{ name: "", kind: "cancelled", start: 0, width: 0.4 }]);
    expect(first?.seconds).toBeUndefined();
  });

  test("nothing is drawn without a begin", () => {
    expect(timeLineOf(detail({ attempts: [{ attempt: 1, state: "running" }] }), T0)).toBeUndefined();
  });
});

describe("the progress chart", () => {
  test("a curve from steps, from what was seen, and up to now", () => {
    const history = new ProgressHistory();
    history.add({ attempt: 1, at: T0 + 20_000, percent: 30 });
    const running = detail({
      progress: 40,
      advanced_at: at(30),
      steps: [{ name: "fetch", state: "done", started_at: at(0), ended_at: at(10), ended_progress: 20 }],
    });
    expect(curveOf(running, 1, history, T0 + 60_000)).toEqual([
      { seconds: 0, percent: 0 },
      { seconds: 10, percent: 20 },
      { seconds: 20, percent: 30 },
      { seconds: 30, percent: 40 },
      { seconds: 60, percent: 40 },
    ]);
    expect(curveOf(detail(), 1, new ProgressHistory(), T0)).toEqual([]);
  });

  test("what the hub still has of the curve is taken also after the present was seen", () => {
    const point = (seconds: number, percent: number) => ({ attempt: 1, at: T0 + seconds * 1_000, percent });
    const present = point(40, 40);
    const earlier = [point(10, 10), point(20, 20), point(20.4, 20.5), point(20.8, 20.7), point(30, 30)];
    const [late, early] = [new ProgressHistory(), new ProgressHistory()];
    for (const seen of [...earlier, present]) early.add(seen);
    for (const seen of [present, ...earlier, point(25, 35), point(25, 15)]) late.add(seen);
    expect(late.of(1)).toEqual(early.of(1));
    expect(late.of(1).map(({ percent }) => percent)).toEqual([10, 20.7, 30, 40]);
  });

  test("the band lies between the fast and the slow runs at every place", () => {
    const band = [
      { progress: 50, low_s: 60, likely_s: 90, high_s: 150 },
      { progress: 100, low_s: 200, likely_s: 250, high_s: 400 },
    ];
    const data = chartData(
      detail({ progress: 10, usual: { runs: 9, failed: 0, band } }),
      new ProgressHistory(),
      T0 + 30_000,
    );
    if (data === undefined) throw new Error("no chart");
    expect(data.seconds).toEqual([0, 30, 60, 90, 150, 200, 250, 400]);
    expect(data.fast.at(-1)).toBe(100);
    expect(data.likely.at(-1)).toBeNull();
    data.seconds.forEach((_, index) => {
      const likely = data.likely[index] ?? 100;
      expect(data.slow[index]).toBeLessThanOrEqual(likely);
      expect(likely).toBeLessThanOrEqual(data.fast[index] ?? 0);
    });
    expect(data.current).toEqual([0, 10, null, null, null, null, null, null]);
  });

  test("memory is bounded over a week of progress, and its shape stays", () => {
    const history = new ProgressHistory();
    const updates = 300_000;
    for (let index = 0; index <= updates; index++) {
      history.add({ attempt: 1, at: T0 + 2_000 * index, percent: (100 * index) / updates });
    }
    const points = history.of(1);
    expect(points.length).toBeLessThanOrEqual(601);
    expect(points[0]?.percent).toBe(0);
    expect(points.at(-1)?.percent).toBe(100);
    history.add({ attempt: 1, at: T0, percent: 5 });
    history.add({ attempt: 1, at: Number.NaN, percent: 5 });
    history.add({ attempt: 1, at: T0 + 1e12, percent: 900 });
    expect(history.of(1).at(-1)?.percent).toBe(100);
  });

  test("a value between two points is on the line between them", () => {
    const curve = [
      { seconds: 0, percent: 0 },
      { seconds: 10, percent: 50 },
    ];
    expect([-1, 0, 5, 10, 99].map((seconds) => valueAt(curve, seconds))).toEqual([0, 0, 25, 50, 50]);
    expect(valueAt([], 3)).toBe(0);
  });
});

test("no two marks of a time axis look alike", () => {
  for (const step of [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400]) {
    const marks = Array.from({ length: 12 }, (_, index) => axisMark(index * step));
    expect(new Set(marks).size, marks.join(", ")).toBe(marks.length);
  }
  expect([0, 30, 90, 150, 5_400].map(axisMark)).toEqual(["0", "30 s", "1 min 30 s", "2 min 30 s", "1 h 30 min"]);
});

test("the band is named after as many runs as there were", () => {
  const words = (runs: number, failed: number) => bandWords({ usual: { runs, failed } });
  expect(words(1, 0)).toBe("the good run before");
  expect(words(7, 5)).toBe("good runs before");
  expect(words(6, 1)).toBe("4 of 5 good runs");
});

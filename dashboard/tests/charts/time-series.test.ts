import { expect, test } from "vitest";
import { nearestPoint, niceTop, peakOf, TimeSeries } from "../../src/charts/time-series.ts";

test("points keep to the capacity, the newest stay", () => {
  const series = new TimeSeries(["a", "b"], 3);
  for (let at = 1; at <= 5; at++) series.add(at, { a: at, b: -at });
  expect(series.columns("a", 0, 99)).toEqual([
    [3, 4, 5],
    [3, 4, 5],
  ]);
  expect(series.columns("b", 4, 99)).toEqual([
    [4, 5],
    [-4, -5],
  ]);
});

test("at most one point a second: the newer one counts", () => {
  const series = new TimeSeries(["a"], 10);
  for (const [at, a] of [
    [10, 1],
    [10.4, 2],
    [10.9, 3],
    [11.95, 4],
  ] as const)
    series.add(at, { a });
  expect(series.columns("a", 0, 99)).toEqual([
    [10.9, 11.95],
    [3, 4],
  ]);
});

test("unknown values are holes", () => {
  const series = new TimeSeries(["a"], 10);
  series.add(1, { a: 1 });
  series.add(2, {});
  series.add(3, { a: Number.NaN });
  series.add(Number.NaN, { a: 1 });
  expect(series.columns("a", 0, 99)).toEqual([
    [1, 2, 3],
    [1, null, null],
  ]);
  expect(series.newest("a")).toBe(1);
});

test("a clock that was set back begins the line again", () => {
  const series = new TimeSeries(["a"], 10);
  series.add(100, { a: 1 });
  series.add(50, { a: 2 });
  expect(series.columns("a", 0, 999)).toEqual([[50], [2]]);
});

test.each([
  [[], 1],
  [[0, null], 1],
  [[3], 5],
  [[412, 564], 1_000],
  [[12_480], 20_000],
  [[2.4], 2.5],
  [[10], 10],
  [[0.3], 0.5],
])("the axis of %j ends at %d", (column, top) => {
  expect(niceTop(column as (number | null)[])).toBeCloseTo(top);
});

test("the axis holds the limit, too", () => {
  expect(niceTop([1], 4)).toBe(5);
});

test("the highest and the nearest point", () => {
  expect(peakOf([null, 2, 7, 3])).toBe(7);
  expect(peakOf([null])).toBeNull();
  expect([0, 14, 16, 99].map((at) => nearestPoint([10, 20, 30], at))).toEqual([0, 0, 1, 2]);
  expect(nearestPoint([], 3)).toBeNull();
});

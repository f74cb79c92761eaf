import { expect, test } from "vitest";
import type { Run, RunState } from "../../src/pages/names/strip.ts";
import { describeTrend } from "../../src/pages/names/trend.ts";

const complete = (...durations: number[]): Run[] =>
  durations.map((duration_s, index) => ({ operation_id: `op-${index}`, state: "complete", duration_s }));
const ended = (state: RunState): Run => ({ operation_id: "op", state, duration_s: 3 });

test.each([
  ["steady", complete(60, 61, 59, 60, 62, 61, 60)],
  ["slower by a third", complete(60, 61, 59, 60, 80, 79, 81)],
  ["takes twice as long", complete(60, 61, 59, 60, 120, 118, 121)],
  ["takes 5 times as long", complete(60, 61, 59, 60, 300, 301, 299)],
  ["faster by a fifth", complete(60, 61, 59, 60, 48, 47, 48)],
  ["slower with every run", complete(96, 100, 104, 108, 112, 116)],
  ["slower with every run", complete(60, 64, 68, 71, 75, 80, 84)],
  ["varies a lot", complete(10, 40, 12, 38, 9, 41, 11, 10, 40, 12)],
  ["failed twice in a row", [...complete(60, 61, 60, 60, 60), ended("failed"), ended("failed")]],
  ["failed 3 times in a row", [ended("failed"), ended("failed"), ended("failed"), ended("running")]],
  ["running, stalled", [...complete(60, 60), ended("stalled")]],
  ["producer away", [ended("failed"), ended("failed"), ended("away")]],
])("%s", (text, runs) => {
  expect(describeTrend(runs).text).toBe(text);
});

test("nothing is said of a few runs, nor of one failure", () => {
  expect(describeTrend([]).text).toBe("");
  expect(describeTrend(complete(1, 9, 3)).text).toBe("");
  expect(describeTrend([...complete(60, 60, 60, 60, 60, 60), ended("failed")]).text).toBe("steady");
});

test("a cancelled run ends a row of failures", () => {
  expect(describeTrend([ended("failed"), ended("failed"), ended("cancelled")]).text).toBe("");
});

test("runs of no duration have no trend", () => {
  expect(describeTrend(complete(0, 0, 0, 0, 0, 0, 0)).text).toBe("");
});

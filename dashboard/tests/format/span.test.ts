import { describe, expect, test } from "vitest";
import {
  formatAgo,
  formatPreciseSpan,
  formatRate,
  formatRemaining,
  formatSpan,
  ordinal,
} from "../../src/format/span.ts";

describe("spans", () => {
  test.each([
    [0, "0 s"],
    [-3, "0 s"],
    [99.4, "99 s"],
    [99.5, "2 min"],
    [99.4 * 60, "99 min"],
    [99.5 * 60, "2 h"],
    [47.4 * 3600, "47 h"],
    [47.5 * 3600, "2 days"],
    [4000 * 86_400, "4,000 days"],
  ])("%d s is %s", (seconds, words) => expect(formatSpan(seconds)).toBe(words));

  test.each([
    [0.94, "0.9 s"],
    [9.96, "10 s"],
    [60, "1 min"],
    [184, "3 min 4 s"],
    [3599.6, "1 h"],
    [7800, "2 h 10 min"],
    [50 * 3600, "2 days 2 h"],
  ])("%d s compared is %s", (seconds, words) => expect(formatPreciseSpan(seconds)).toBe(words));

  test("an age below half a second is now", () => {
    expect([formatAgo(0.4), formatAgo(0.5), formatAgo(720)]).toEqual(["just now", "1 s ago", "12 min ago"]);
  });
});

test.each([
  [40, undefined, undefined, "about 40 s left"],
  [300, 240, 360, "4 to 6 min left"],
  [300, 280, 320, "about 5 min left"],
  [900, 0.2, 1500, "up to 25 min left"],
  [100, 80, 140, "80 s to 2 min left"],
  [0, 0, 0, "about 0 s left"],
])("a remaining time of %s in [%s, %s] is %s", (middle, low, high, words) => {
  expect(formatRemaining(middle, low, high)).toBe(words);
});

test.each([
  [undefined, ""],
  [0, ""],
  [Number.NaN, ""],
  [0.24, "0.24 %/s"],
  [0.00683, "0.41 %/min"],
  [0.0001, "0.36 %/h"],
  [1234.5, "1,235 %/s"],
])("a rate of %s is %s", (rate, words) => expect(formatRate(rate)).toBe(words));

test("ordinals of the teens end in th", () => {
  expect([1, 2, 3, 4, 11, 12, 13, 21, 102, 111].map(ordinal)).toEqual([
    "1st",
    "2nd",
    "3rd",
    "4th",
    "11th",
    "12th",
    "13th",
    "21st",
    "102nd",
    "111th",
  ]);
});

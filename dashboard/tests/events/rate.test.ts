import { expect, test } from "vitest";
import { Rate } from "../../src/pages/events/rate.ts";

test("the rate is that of the last whole seconds", () => {
  const rate = new Rate();
  expect(rate.perSecond(0)).toBeNull();
  for (let now = 0; now < 3_000; now += 10) rate.add(now);
  expect(rate.perSecond(3_000)).toBe(100);
  expect(rate.perSecond(3_999)).toBe(100);
});

test("silence brings the rate back to nothing", () => {
  const rate = new Rate();
  rate.add(0, 500);
  expect(rate.perSecond(1_000)).toBe(500);
  expect(rate.perSecond(2_000)).toBe(250);
  expect(rate.perSecond(60_000)).toBe(0);
  rate.add(60_500, 10);
  expect(rate.perSecond(61_000)).toBe(2);
});

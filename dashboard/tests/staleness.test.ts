import type { ConnectionStateName } from "tidings";
import { expect, test } from "vitest";
import { afterState, NEVER_LIVE } from "../src/staleness.ts";

const after = (...states: readonly ConnectionStateName[]): boolean => states.reduce(afterState, NEVER_LIVE).isStale;

test("a page that opens its second connection beside a live one is not stale", () => {
  expect(after("connecting", "live", "connecting")).toBe(false);
  expect(after("connecting", "live", "connecting", "catching-up", "live")).toBe(false);
});

test("a page is stale from a loss until the hub is there again", () => {
  expect(after("connecting", "live", "stale")).toBe(true);
  expect(after("connecting", "live", "stale", "connecting")).toBe(true);
  expect(after("connecting", "live", "stale", "connecting", "live")).toBe(false);
  expect(after("live", "closed", "connecting")).toBe(true);
});

test("a page that never had a hub shows nothing old", () => {
  expect(after("connecting", "closed")).toBe(false);
  expect(after("closed", "connecting", "catching-up")).toBe(false);
});

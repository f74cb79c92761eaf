import { expect, test } from "vitest";
import { readContract } from "../../src/pages/events/contract-model.ts";
import { beginningOf, describeRate, describeSince } from "../../src/pages/events/words.ts";

const NOW = Date.parse("2026-11-29T02:15:00Z");

test.each([
  [null, ""],
  [0, "0 events/s, newest first"],
  [0.4, "0.4 events/s, newest first"],
  [3, "3 events/s, newest first"],
  [199.6, "200 events/s, newest first"],
  [10_000, "10,000 events/s, 98% too fast to draw: filter, or press “Show them”"],
])("%s events a second", (perSecond, text) => {
  expect(describeRate(perSecond)).toBe(text);
});

test("a page begins with the newest events of a time by the hub's clock, or at a position", () => {
  expect(beginningOf("1h", NOW)).toEqual({ at: "newest", after: "2026-11-29T01:15:00.000Z" });
  expect(beginningOf("", NOW)).toEqual({ at: "newest", after: "first" });
  expect(beginningOf("now", NOW)).toEqual({ at: "now" });
  expect(beginningOf("first", NOW)).toEqual({ at: "position", after: "first" });
  expect(beginningOf("83f7f1ea:901223", NOW)).toEqual({ at: "position", after: "83f7f1ea:901223" });
  expect(describeSince("83f7f1ea:901223")).toBe("83f7f1ea:901223");
});

test.each(["constructor", "toString", "__proto__"])("an address that says %s does not break the page", (since) => {
  expect(beginningOf(since, NOW)).toEqual({ at: "position", after: since });
  expect(describeSince(since)).toBe(since);
});

test("the contract names channels, types of the log and their keys", () => {
  const contract = readContract({
    channels: ["operations", "trades"],
    events: [
      { type: "trade:executed", channel: "trades", key: "trade_id", class: "durable" },
      { type: "license:expired", channel: "global", key: null, class: "durable" },
      { type: "connection:closed", class: "direct" },
    ],
  });
  expect(contract.types).toEqual(["trade:executed", "license:expired"]);
  expect([...contract.keys]).toEqual([["trade:executed", "trade_id"]]);
});

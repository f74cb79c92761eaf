import { expect, test } from "vitest";
import {
  choosesEverything,
  EVERYTHING,
  type EventFilter,
  keyOf,
  type LoggedEvent,
  matcherOf,
  parseTyped,
  pathsOf,
  readFilter,
  writeFilter,
} from "../../src/pages/events/filter.ts";

const EVENT: LoggedEvent = {
  type: "operation:failed",
  timestamp: "2026-11-29T02:15:00Z",
  trace_id: "9c1d07e2b5a84f30",
  channel: "operations",
  position: "e:1",
  data: { operation_id: "import-1", code: "UpstreamTimeout", message: "Xetra did not answer" },
};
const matches = (filter: Partial<EventFilter>) => matcherOf({ ...EVERYTHING, ...filter })(EVENT);

test("a filter is kept by its address", () => {
  const filter = { channel: "operations", type: "operation:failed", key: "a/b c", trace: "9c", text: "x & y" };
  const query = writeFilter(filter, new URLSearchParams("since=first"));
  expect(readFilter(new URLSearchParams(query.toString()))).toEqual(filter);
  expect(query.get("since")).toBe("first");
  expect(writeFilter(EVERYTHING, query).toString()).toBe("since=first");
  expect(choosesEverything(EVERYTHING)).toBe(true);
});

test("typed words set what they name, the rest is text", () => {
  const typed = parseTyped("type:operation:* key:import-1 xetra operation:failed", {
    ...EVERYTHING,
    channel: "operations",
  });
  expect(typed).toEqual({
    channel: "operations",
    type: "operation:*",
    key: "import-1",
    trace: "",
    text: "xetra operation:failed",
  });
});

test.each([
  [{}, true],
  [{ channel: "data" }, false],
  [{ type: "operation:failed" }, true],
  [{ type: "operation:*" }, true],
  [{ type: "operation" }, false],
  [{ key: "import-1" }, true],
  [{ key: "import" }, false],
  [{ key: "import*" }, true],
  [{ trace: "9c1d07e2b5a84f30" }, true],
  [{ trace: "9c1d" }, false],
  [{ text: "XETRA upstream" }, true],
  [{ text: "operation:failed" }, true],
  [{ text: "xetra lse" }, false],
])("%j: %s", (filter, expected) => {
  expect(matches(filter)).toBe(expected);
});

test("the hub chooses by path where a path can say it", () => {
  expect(pathsOf(EVERYTHING)).toEqual(["*"]);
  expect(pathsOf({ ...EVERYTHING, channel: "operations" })).toEqual(["operations"]);
  expect(pathsOf({ ...EVERYTHING, channel: "operations", key: "import-1" })).toEqual(["operations/import-1"]);
  expect(pathsOf({ ...EVERYTHING, channel: "operations", key: "import-*" })).toEqual(["operations"]);
});

test("the key is the member that the contract names", () => {
  expect(keyOf(EVENT)).toBe("import-1");
  expect(keyOf({ type: "data:update", data: { dataset: "prices" } })).toBe("prices");
  expect(keyOf({ type: "trade:executed", data: { trade_id: "T-1" } })).toBe("");
  expect(keyOf({ type: "trade:executed", data: { trade_id: "T-1" } }, new Map([["trade:executed", "trade_id"]]))).toBe(
    "T-1",
  );
  expect(keyOf({ type: "system:alert", data: { code: "disk_low", operation_id: "op" } })).toBe("disk_low:op");
  expect(keyOf({ type: "data:update", data: null })).toBe("");
  expect(keyOf({ type: "data:update", data: [1] })).toBe("");
});

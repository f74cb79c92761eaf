import type { WatchItem } from "tidings";
import { expect, test, vi } from "vitest";
import type { FeedHub } from "../../src/pages/events/feed.ts";
import type { LoggedEvent } from "../../src/pages/events/filter.ts";
import { layOutTrace } from "../../src/pages/events/trace.ts";
import { TraceFeed } from "../../src/pages/events/trace-feed.ts";

const BASE = Date.parse("2026-11-29T02:00:00Z");
let offset = 0;

function event(type: string, second: number, data: object): LoggedEvent {
  const timestamp = new Date(BASE + second * 1000).toISOString();
  return { type, timestamp, trace_id: "t", channel: type.split(":")[0] ?? "", position: `e:${++offset}`, data };
}
const start = (second: number, operation_id: string, more: object = {}) =>
  event("operation:start", second, { operation_id, name: operation_id.toUpperCase(), ...more });

test("each operation has a lane, children below their parents, other events at the end", () => {
  const view = layOutTrace(
    [
      event("data:update", 0, { dataset: "prices" }),
      start(1, "child", { parent_id: "root" }),
      start(1, "root"),
      start(2, "grandchild", { parent_id: "child" }),
      start(3, "other"),
    ],
    null,
  );
  expect(view.lanes.map((lane) => [lane.name, lane.depth])).toEqual([
    ["ROOT", 0],
    ["CHILD", 1],
    ["GRANDCHILD", 2],
    ["OTHER", 0],
    ["data:update", 0],
  ]);
  expect([view.operations, view.events]).toEqual([4, 5]);
});

test("attempts are stretches with their outcome, in shares of the whole time", () => {
  const view = layOutTrace(
    [
      start(0, "a", { queued: true }),
      start(10, "a", { attempt: 1 }),
      event("operation:failed", 40, { operation_id: "a", code: "x", message: "y" }),
      start(50, "a", { attempt: 2 }),
      event("operation:complete", 100, { operation_id: "a" }),
    ],
    null,
  );
  expect(view.lanes[0]?.spans).toEqual([
    { attempt: 1, state: "queued", from: 0, until: 0.1 },
    { attempt: 1, state: "failed", from: 0.1, until: 0.4 },
    { attempt: 2, state: "complete", from: 0.5, until: 1 },
  ]);
});

test("a live attempt reaches up to now, by the hub's clock", () => {
  const view = layOutTrace(
    [start(0, "a"), event("operation:progress", 5, { operation_id: "a", progress: 3 })],
    BASE + 20_000,
  );
  expect(view.until).toBe(BASE + 20_000);
  expect(view.lanes[0]?.spans).toEqual([{ attempt: 1, state: "running", from: 0, until: 1 }]);
});

test("a trace that has ended does not grow", () => {
  const view = layOutTrace([start(0, "a"), event("operation:cancelled", 5, { operation_id: "a" })], BASE + 999_000);
  expect(view.until).toBe(BASE + 5_000);
});

test("an operation whose start is no longer kept begins with what is left", () => {
  const view = layOutTrace(
    [
      event("operation:progress", 5, { operation_id: "a", progress: 3 }),
      event("operation:complete", 9, { operation_id: "a" }),
    ],
    null,
  );
  expect(view.lanes[0]?.spans).toEqual([{ attempt: 1, state: "complete", from: 0, until: 1 }]);
});

test("events at nearly the same time are one mark, as loud as the loudest", () => {
  const log = (second: number, level: string) =>
    event("operation:log", second, { operation_id: "a", message: "m", level });
  const events = [start(0, "a"), log(50, "info"), log(50.1, "error"), log(50.2, "debug"), log(80, "info")];
  const view = layOutTrace([...events, event("operation:complete", 100, { operation_id: "a" })], null);
  expect(view.lanes[0]?.marks.map(({ count, tone }) => [count, tone])).toEqual([
    [3, "failed"],
    [1, "plain"],
  ]);
});

test("parents in a circle, or of themselves, are drawn once each", () => {
  const view = layOutTrace(
    [start(0, "a", { parent_id: "b" }), start(1, "b", { parent_id: "a" }), start(2, "self", { parent_id: "self" })],
    null,
  );
  expect(view.lanes.map((lane) => lane.operationId).sort()).toEqual(["a", "b", "self"]);
});

test("ten thousand events of one moment have places", () => {
  const events = Array.from({ length: 10_000 }, () => event("operation:log", 0, { operation_id: "a", message: "m" }));
  const view = layOutTrace(events, null);
  expect(view.lanes[0]?.marks).toMatchObject([{ at: 0, count: 10_000 }]);
});

test("nothing makes nothing", () => {
  expect(layOutTrace([], 1).lanes).toEqual([]);
});

test("a trace whose end fell into a gap is read again, and one that is gone is empty", async () => {
  const [begun, ended] = [start(0, "a"), event("operation:complete", 5, { operation_id: "a" })];
  let kept: readonly LoggedEvent[] = [begun];
  const watches = new Set<(item: WatchItem) => void>();
  const hub = {
    request: async () => ({ events: kept, next: "e:head", position: "e:head" }),
    watch: (_paths: unknown, take: (item: WatchItem) => void) => {
      watches.add(take);
      return () => watches.delete(take);
    },
  } as unknown as FeedHub;
  const miss = () => {
    const data = { after: "e:head", until: "f:1", reason: "unknown_epoch" };
    for (const take of [...watches]) take({ type: "channel:gap", data });
  };
  for (const [now, phase] of [
    [[begun, ended], "ended"],
    [[], "ended"],
    [[begun], "live"],
  ] as const) {
    kept = [begun];
    const feed = new TraceFeed(hub, "t");
    await feed.start();
    expect([feed.state.value.phase, watches.size]).toEqual(["live", 1]);
    kept = now;
    miss();
    const open = phase === "live" ? 1 : 0;
    await vi.waitFor(() => expect([feed.state.value.events, watches.size]).toEqual([now, open]));
    expect(feed.state.value.phase).toBe(phase);
    feed.stop();
  }
});

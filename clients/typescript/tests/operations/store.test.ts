/** The store against a source whose answers and events come when the test says so. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { CredentialError, ForbiddenError, HubUnreachableError } from "../../src/errors.ts";
import type { Operation } from "../../src/operations/operation.ts";
import { OperationStore, readablePaths } from "../../src/operations/store.ts";
import { FakeSource, live, NOW, row, settled, subscribed } from "./fake-source.ts";

let source: FakeSource;
let store: OperationStore;
let flush: () => void;

beforeEach(() => {
  vi.useFakeTimers();
  source = new FakeSource();
  store = new OperationStore(source, (callback) => {
    let due = false;
    flush = () => {
      if (!due) return;
      due = false;
      callback();
    };
    return { request: () => (due = true), cancel: () => (due = false) };
  });
});
afterEach(() => vi.useRealTimers());

async function load(...rows: readonly Operation[]): Promise<void> {
  await source.answer({ operations: rows, position: "e:0" });
  source.deliver(subscribed("complete"), live);
  flush();
}

const ids = (): readonly string[] => store.getSnapshot().ids;

test("events continue the list from its position", async () => {
  store.subscribe(() => {});
  expect([store.getSnapshot().status, source.requests[0]?.path]).toEqual(["loading", "v1/operations"]);
  await load(row("a", { progress: 40 }));
  expect(source.watches.map(({ paths, since }) => ({ paths, since }))).toEqual([
    { paths: ["operations"], since: "e:0" },
  ]);
  source.deliver(source.event("operation:progress", { operation_id: "a", progress: 30, current_step: "write" }));
  source.deliver(source.event("operation:start", { operation_id: "b", name: "later" }));
  flush();
  const { operations, status, complete } = store.getSnapshot();
  expect([status, complete]).toEqual(["ready", true]);
  expect(operations.map((one) => [one.operation_id, one.progress, one.current_step])).toEqual([
    ["b", undefined, undefined],
    ["a", 40, "write"],
  ]);
});

test("progress changes one operation, and no other object", async () => {
  const listener = vi.fn();
  const [own, other] = [vi.fn(), vi.fn()];
  store.subscribe(listener);
  store.operation("a").subscribe(own);
  store.operation("b").subscribe(other);
  await load(row("a"), row("b"));
  for (const mock of [listener, own, other]) mock.mockClear();
  const before = store.getSnapshot();
  for (let progress = 1; progress <= 100; progress += 1) {
    source.deliver(source.event("operation:progress", { operation_id: "a", progress }));
  }
  expect(store.getSnapshot()).toBe(before);
  flush();
  expect([listener, own, other].map(({ mock }) => mock.calls.length)).toEqual([1, 1, 0]);
  const after = store.getSnapshot();
  expect(after.ids).toBe(before.ids);
  expect(after.operations.map((one) => one.progress)).toEqual([100, undefined]);
  expect(after.operations[1]).toBe(before.operations[1]);
  expect(store.getSnapshot()).toBe(after);
  expect(store.operation("a").getSnapshot()).toBe(after.operations[0]);
});

test("a gap, or a snapshot after a reconnect, reads the list again; the old one stays until then", async () => {
  for (const item of [
    subscribed("snapshot"),
    subscribed("gap"),
    { type: "channel:gap", data: { after: "a", until: "b", reason: "trimmed" } } as const,
  ]) {
    store = new OperationStore(source, () => ({ request: () => {}, cancel: () => {} }));
    source.requests.length = 0;
    store.subscribe(() => {});
    await source.answer({ operations: [row("a"), row("gone")], position: "e:0" });
    source.deliver(subscribed("complete"), live);
    source.deliver(item);
    expect(source.requests).toHaveLength(2);
    expect(source.watches.at(-1)?.open).toBe(false);
  }
});

test("what a new list lacks is removed", async () => {
  const gone = vi.fn();
  store.subscribe(() => {});
  store.operation("gone").subscribe(gone);
  await load(row("a"), row("gone"));
  gone.mockClear();
  source.deliver(subscribed("gap"));
  flush();
  expect(ids()).toEqual(["a", "gone"]);
  await load(row("a"));
  expect(ids()).toEqual(["a"]);
  expect(gone).toHaveBeenCalledTimes(1);
  expect(source.requests.at(-1)?.query).toEqual({ operation_id: "gone" });
  await source.refuse(new HubUnreachableError("x", "y"));
  expect(store.operation("gone").getSnapshot()).toBeUndefined();
});

test("long lists: all live operations, and the children of those that have no progress of their own", async () => {
  store.subscribe(() => {});
  await source.answer({ operations: [row("new", { state: "complete" })], position: "e:0", next: "9" });
  expect(source.requests.at(-1)?.query).toMatchObject({ state: ["queued", "running"] });
  await source.answer({ operations: [row("parent", { progress: 50, progress_of: "children" })], next: "5" });
  expect(source.requests.at(-1)?.query).toMatchObject({ state: ["queued", "running"], after: "5" });
  await source.answer({ operations: [] });
  expect(source.requests.at(-1)?.query).toMatchObject({ parent: "parent" });
  const child = { parent_id: "parent", state: "complete", progress: 100 } as const;
  await source.answer({ operations: [row("one", child), row("two", { parent_id: "parent", progress: 0 })] });
  source.deliver(subscribed("complete"), live);
  source.deliver(source.event("operation:progress", { operation_id: "two", progress: 50 }));
  flush();
  expect(store.operation("parent").getSnapshot()).toMatchObject({ progress: 75, progress_of: "children" });
  expect(store.getSnapshot().complete).toBe(false);
  void store.loadOlder();
  expect(source.requests.at(-1)?.query).toMatchObject({ after: "9" });
  await source.answer({ operations: [row("old", { state: "failed" })] });
  flush();
  expect([store.getSnapshot().complete, ids().includes("old")]).toEqual([true, true]);
});

test("an operation that is older than the list is asked for once, and one that the hub does not know is null", async () => {
  store.subscribe(() => {});
  await load();
  const [old, never] = [vi.fn(), vi.fn()];
  for (let listener = 0; listener < 3; listener += 1) store.operation("old").subscribe(old);
  store.operation("never").subscribe(never);
  const [first, second] = source.requests.slice(-2);
  expect([first?.query, second?.query]).toEqual([{ operation_id: "old" }, { operation_id: "never" }]);
  first?.resolve({ ...row("old", { state: "complete" }), steps: [], timeline: [], log: [], children: [] });
  const { HubError } = await import("../../src/errors.ts");
  second?.reject(new HubError({ code: "operation_unknown", message: "no", recoverable: false }));
  await settled();
  flush();
  expect([store.operation("old").getSnapshot()?.state, store.operation("never").getSnapshot()]).toEqual([
    "complete",
    null,
  ]);
  expect(store.operation("old").getSnapshot()).not.toHaveProperty("steps");
  expect([old.mock.calls.length, never.mock.calls.length]).toEqual([3, 1]);
  source.deliver(source.event("operation:start", { operation_id: "never" }));
  flush();
  expect(store.operation("never").getSnapshot()?.state).toBe("running");
});

test("without the list, the events are shown, and the list is read again with growing delays", async () => {
  store.subscribe(() => {});
  await source.refuse(new HubUnreachableError("no answer", "start it"));
  flush();
  expect(store.getSnapshot()).toMatchObject({ status: "failed", error: { code: "hub_unreachable" } });
  source.deliver(subscribed("snapshot"), source.event("operation:start", { operation_id: "a" }), live);
  flush();
  expect(store.getSnapshot()).toMatchObject({ status: "ready", complete: false, ids: ["a"] });
  expect(source.watches.at(-1)?.since).toBe("snapshot");
  const delays: number[] = [];
  for (const delay of [1_000, 2_000, 4_000]) {
    const before = source.requests.length;
    vi.advanceTimersByTime(delay - 1);
    expect(source.requests).toHaveLength(before);
    vi.advanceTimersByTime(1);
    delays.push(source.requests.length - before);
    await source.refuse(new HubUnreachableError("no answer", "start it"));
  }
  expect(delays).toEqual([1, 1, 1]);
  vi.advanceTimersByTime(8_000);
  await load(row("a"), row("b"));
  expect(store.getSnapshot()).toMatchObject({ status: "ready", complete: true });
  expect(store.getSnapshot().error).toBeUndefined();
});

test("a client without a credential reads the list as soon as the hub accepts it, and not by a timer", async () => {
  source.ticks = true;
  store.subscribe(() => {});
  await source.refuse(new CredentialError({ code: "unauthenticated", message: "no", recoverable: false }, 401));
  vi.advanceTimersByTime(3_600_000);
  expect(source.requests).toHaveLength(1);
  source.deliver(subscribed("snapshot"));
  expect(source.requests).toHaveLength(2);
});

test("another subject does not see what the one before saw", async () => {
  store.subscribe(() => {});
  await load(row("secret"));
  store.restart();
  flush();
  expect(store.getSnapshot()).toMatchObject({ status: "loading", ids: [] });
  await load(row("own"));
  expect(ids()).toEqual(["own"]);
});

test("a subject that may read some paths follows those", async () => {
  store.subscribe(() => {});
  await source.answer({ operations: [], position: "e:0" });
  source.grants = ["read operations/acme.*", "details"];
  source.watches.at(-1)?.sink.end(new ForbiddenError({ code: "forbidden", message: "no", recoverable: false }));
  expect(source.watches.at(-1)?.paths).toEqual(["operations/acme.*"]);
  source.watches.at(-1)?.sink.end(new ForbiddenError({ code: "forbidden", message: "no", recoverable: false }));
  flush();
  expect(store.getSnapshot().error).toMatchObject({ code: "forbidden" });
});

test("a subject without the right to read asks again after a delay, and not at once", async () => {
  const forbidden = new ForbiddenError({ code: "forbidden", message: "no", recoverable: false });
  store.subscribe(() => {});
  await source.refuse(forbidden);
  const asked = [source.requests.length, source.watches.length];
  source.watches.at(-1)?.sink.end(forbidden);
  await settled();
  expect([source.requests.length, source.watches.length]).toEqual(asked);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(source.requests.length).toBe((asked[0] ?? 0) + 1);
  await source.answer({ operations: [row("a")], position: "e:0" });
  flush();
  expect(store.getSnapshot().ids).toEqual(["a"]);
});

test("events that are older than the row of the list change nothing", async () => {
  const times = { queued_at: "2025-07-30T11:00:00.000000002Z", started_at: "2025-07-30T11:00:00.000000003Z" };
  store.subscribe(() => {});
  await source.answer({ operations: [row("a", { attempt: 2, ...times })], position: "e:0" });
  const old = { timestamp: "2025-07-30T11:00:00.000000001Z" };
  source.deliver(
    subscribed("complete"),
    source.event("operation:progress", { operation_id: "a", progress: 90 }, old),
    source.event("operation:failed", { operation_id: "a", code: "c", message: "m", recoverable: true }, old),
    source.event("operation:start", { operation_id: "a", queued: true, attempt: 2 }, { timestamp: times.queued_at }),
    live,
  );
  flush();
  expect(store.operation("a").getSnapshot()).toMatchObject({ state: "running", attempt: 2 });
  expect(store.operation("a").getSnapshot()?.progress).toBeUndefined();
});

test("the estimate tells about stalls, absence and requests to cancel, until the end", async () => {
  store.subscribe(() => {});
  await load(row("a", { presence: "attached", producer_id: "p" }));
  const away_since = "2025-07-30T11:59:00Z";
  const estimate = { remaining_s: 60, remaining_low_s: 30, stalled: true, away_since };
  source.deliver(
    source.event("operation:estimate", {
      operation_id: "a",
      ...estimate,
      cancel_requested_at: "2025-07-30T11:59:30Z",
      cancelled_by: "ada",
      began_at: "2025-07-30T11:30:00Z",
    }),
  );
  flush();
  expect(store.operation("a").getSnapshot()).toMatchObject({
    presence: "away",
    stalled: true,
    away_since,
    estimate: { remaining_s: 60, remaining_low_s: 30, stalled: true },
    cancel_requested_at: "2025-07-30T11:59:30Z",
    cancelled_by: "ada",
    started_at: "2025-07-30T11:30:00Z",
  });
  source.deliver(source.event("operation:estimate", { operation_id: "a", stalled: false }));
  flush();
  const back = store.operation("a").getSnapshot();
  expect([back?.presence, back?.away_since, back?.stalled, back?.cancelled_by]).toEqual([
    "attached",
    undefined,
    false,
    undefined,
  ]);
  source.deliver(source.event("operation:cancelled", { operation_id: "a", reason: "late", cancelled_by: "ada" }));
  source.deliver(source.event("operation:estimate", { operation_id: "a", stalled: true }));
  flush();
  const ended = store.operation("a").getSnapshot();
  expect([ended?.state, ended?.reason, ended?.cancelled_by]).toEqual(["cancelled", "late", "ada"]);
  expect([ended?.presence, ended?.estimate, ended?.stalled]).toEqual([undefined, undefined, undefined]);
});

test("a store without listeners stops, and reads again for the next one", async () => {
  source.ticks = true;
  const stop = store.subscribe(() => {});
  await load(row("a"));
  stop();
  const again = store.subscribe(() => {}); // as StrictMode does
  vi.advanceTimersByTime(60_000);
  expect([source.requests.length, source.watches.at(-1)?.open]).toEqual([1, true]);
  again();
  vi.advanceTimersByTime(1_000);
  expect(source.watches.at(-1)?.open).toBe(false);
  store.subscribe(() => {});
  expect(source.requests).toHaveLength(2);
});

test("a list that some other server sends is not taken for a hub's", async () => {
  store.subscribe(() => {});
  await source.answer({ ok: true } as never);
  flush();
  expect(store.getSnapshot()).toMatchObject({ status: "failed", error: { code: "not_a_hub" } });
});

test("a closed client asks for nothing", async () => {
  store.subscribe(() => {});
  await load(row("a"));
  store.close();
  source.watches.at(-1)?.sink.end(new HubUnreachableError("x", "y"));
  vi.advanceTimersByTime(3_600_000);
  expect([source.requests.length, source.watches.length]).toEqual([1, 1]);
});

test("an operation with the id .. is found: it is named where no path must hold it", async () => {
  const known = store.operation("..");
  known.subscribe(() => {});
  await load();
  expect(source.requests.at(-1)).toMatchObject({ path: "v1/operation", query: { operation_id: ".." } });
  await source.answer({ ...row("..", { state: "complete" }), steps: [], timeline: [], log: [], children: [] });
  flush();
  expect(known.getSnapshot()?.state).toBe("complete");
});

test.each([
  [undefined, ["operations"]],
  [["read data"], ["operations"]],
  [["read *"], ["operations"]],
  [["admin"], ["operations"]],
  [["read operations/a.*", "read operations"], ["operations"]],
  [
    ["read operations/a.*", "read operations/b", "cancel operations"],
    ["operations/a.*", "operations/b"],
  ],
])("grants %j allow to read %j", (grants, paths) => {
  expect(readablePaths(grants)).toEqual(paths);
});

const DAY_MS = 86_400_000;

/** Operations that run for a second each, one after the other. */
function pass(first: number, count: number): void {
  for (let number = first; number < first + count; number += 1) {
    const [start, end] = [0, 1_000].map((after) => new Date(NOW - DAY_MS + 1_000 * number + after).toISOString()) as [
      string,
      string,
    ];
    const data = { operation_id: `job-${number}` };
    source.deliver(source.event("operation:start", data, { timestamp: start }));
    source.deliver(source.event("operation:complete", data, { timestamp: end }));
  }
  flush();
}

test("a day of short operations leaves the newest thousand, and the list says that it is not complete", async () => {
  store.subscribe(() => {});
  await load(row("a"));
  for (let first = 0; first < 3_000; first += 500) {
    pass(first, 500);
    expect(ids().length).toBeLessThan(1_150);
  }
  expect(ids().filter((id) => id.startsWith("job-")).length).toBeGreaterThanOrEqual(1_000);
  expect([ids().includes("a"), ids().includes("job-2999"), ids().includes("job-0")]).toEqual([true, true, false]);
  expect(store.getSnapshot().complete).toBe(false);
});

test("operations that were dropped are read again, and stay beside the newest", async () => {
  store.subscribe(() => {});
  await load();
  pass(0, 1_500);
  const ended = (number: number) =>
    row(`job-${number}`, { state: "complete", ended_at: new Date(NOW - DAY_MS + 1_000 * (number + 1)).toISOString() });
  const done = store.loadOlder();
  expect(source.requests.at(-1)?.query).not.toHaveProperty("after");
  await source.answer({ operations: [ended(1_499)], next: "1" }); // all of them known: it goes on
  expect(source.requests.at(-1)?.query).toMatchObject({ after: "1" });
  await source.answer({ operations: Array.from({ length: 300 }, (_, number) => ended(number)) });
  await done;
  flush();
  expect([ids().includes("job-0"), store.getSnapshot().complete]).toEqual([true, true]);
  pass(1_500, 20);
  expect([ids().includes("job-0"), ids().includes("job-1519")]).toEqual([true, true]);
});

test("a hub whose clock was set is read again: it has moved the times of its operations", async () => {
  source.ticks = true;
  store.subscribe(() => {});
  await load(row("a"));
  await vi.advanceTimersByTimeAsync(60_000);
  expect(source.requests).toHaveLength(1);
  source.jump = 3_600_000;
  await vi.advanceTimersByTimeAsync(10_000);
  expect(source.requests).toHaveLength(2);
  const started_at = "2025-07-30T12:00:00Z";
  await load(row("a", { started_at }));
  expect(store.getSnapshot().operations).toMatchObject([{ operation_id: "a", started_at }]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(source.requests).toHaveLength(2);
});

/** What the store asks for while its page is hidden. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ForbiddenError, HubUnreachableError } from "../../src/errors.ts";
import type { Operation } from "../../src/operations/operation.ts";
import { OperationStore } from "../../src/operations/store.ts";
import { FakePage, FakeSource, live, NOW, row, settled, subscribed } from "./fake-source.ts";

let page: FakePage;
let source: FakeSource;
let store: OperationStore;
/** When the page was hidden long enough. */
const HIDDEN_AT = NOW + 10_000;

beforeEach(() => {
  vi.useFakeTimers();
  page = new FakePage();
  page.install();
  source = new FakeSource();
  source.ticks = true;
  store = new OperationStore(source);
});
afterEach(() => {
  store.close();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

async function load(...rows: readonly Operation[]): Promise<void> {
  await source.answer({ operations: rows, position: "e:0" });
  source.deliver(subscribed("complete"), live);
  page.frame();
}

/** Hide the page for as long as it takes until that counts. */
function hide(): void {
  page.show("hidden");
  vi.advanceTimersByTime(10_000);
}

/** Let the page ask, answer both of its questions, and let it publish. */
async function ask(news: readonly Operation[], troubled: readonly Operation[] = []): Promise<void> {
  vi.advanceTimersByTime(60_000);
  await source.answer({ operations: news });
  await source.answer({ operations: troubled });
  vi.advanceTimersByTime(1_000);
}

const open = (): readonly (readonly string[])[] => source.watches.filter((one) => one.open).map((one) => one.paths);
const states = (): unknown =>
  Object.fromEntries(store.getSnapshot().operations.map((one) => [one.operation_id, one.state]));

test("a page forgets a store that no one uses, and the store follows it again for the next one", async () => {
  const [added, removed] = [vi.spyOn(page, "addEventListener"), vi.spyOn(page, "removeEventListener")];
  store.subscribe(() => {})();
  await load(row("a"));
  vi.advanceTimersByTime(2_000);
  page.frame();
  expect(added.mock.calls.length).toBeGreaterThan(0);
  expect(removed.mock.calls).toHaveLength(added.mock.calls.length);
  store.subscribe(() => {});
  await load(row("a"));
  hide();
  expect(open()).toEqual([]);
});

test("a hidden page gets no events, and asks for what began, ended or came into trouble", async () => {
  store.subscribe(() => {});
  await load(row("a"), row("b"));
  hide();
  expect(open()).toEqual([]);
  vi.advanceTimersByTime(60_000);
  expect(source.requests.at(-1)?.query).toMatchObject({ since: new Date(HIDDEN_AT - 10_000).toISOString() });
  await source.answer({ operations: [row("a", { state: "failed" }), row("c")] });
  expect(source.requests.at(-1)?.query).toMatchObject({ state: ["stalled", "away"] });
  await source.answer({ operations: [row("b", { stalled: true })] });
  vi.advanceTimersByTime(1_000);
  expect(states()).toEqual({ a: "failed", b: "running", c: "running" });
  expect(store.operation("b").getSnapshot()?.stalled).toBe(true);
  await ask([]);
  expect(store.operation("b").getSnapshot()?.stalled).toBe(false);
  expect(open()).toEqual([]);
});

test("a page that is shown again reads everything, and goes on from there", async () => {
  store.subscribe(() => {});
  await load(row("a", { progress: 10 }));
  hide();
  vi.advanceTimersByTime(60_000);
  page.show("visible");
  expect(store.getSnapshot()).toMatchObject({ status: "ready" }); // what is known stays until then
  await load(row("a", { progress: 70 }));
  expect(store.operation("a").getSnapshot()?.progress).toBe(70);
  expect(open()).toEqual([["operations"]]);
  expect(source.pace).not.toHaveBeenCalled(); // the connection did not have to change
  const { length } = source.requests;
  vi.advanceTimersByTime(120_000);
  expect(source.requests).toHaveLength(length);
});

test("a hidden page follows live operations that are listened to one by one, less often", async () => {
  store.subscribe(() => {});
  store.operation("a").subscribe(() => {});
  store.operation("gone").subscribe(() => {});
  await load(row("a"), row("b"), row("odd *id"), row("gone", { state: "complete" }));
  hide();
  expect([open(), source.pace.mock.calls]).toEqual([[["operations/a"]], [[5_000]]]);
  source.deliver(subscribed("snapshot"), live, source.event("operation:complete", { operation_id: "a" }));
  vi.advanceTimersByTime(1_000);
  expect(states()).toMatchObject({ a: "complete", b: "running" });
  store.operation("odd *id").subscribe(() => {});
  store.operation("b").subscribe(() => {}); // someone asks in another tab to be notified
  expect(open()).toEqual([["operations/b"]]);
  await ask([row("b", { progress: 5 }), row("odd *id", { state: "failed" })]);
  expect(store.operation("b").getSnapshot()?.progress).toBeUndefined(); // its events are newer
  expect(states()).toMatchObject({ a: "complete", b: "running", "odd *id": "failed" });
  page.show("visible");
  await load(row("b"));
  expect([open(), source.pace.mock.calls]).toEqual([[["operations"]], [[5_000], [250]]]);
});

test("what could not be asked is asked the next time", async () => {
  store.subscribe(() => {});
  await load(row("a"));
  hide();
  vi.advanceTimersByTime(60_000);
  await source.refuse(new HubUnreachableError("the hub cannot be reached", ""));
  vi.advanceTimersByTime(60_000);
  expect(source.requests.at(-1)?.query).toMatchObject({ since: new Date(HIDDEN_AT - 10_000).toISOString() });
  expect(store.getSnapshot().error).toBeUndefined();
});

test("the right to read one operation may be withdrawn from a hidden page", async () => {
  store.subscribe(() => {});
  store.operation("a").subscribe(() => {});
  await load(row("a"));
  hide();
  const data = { code: "forbidden", message: "not any more", recoverable: false };
  source.watches.at(-1)?.sink.end(new ForbiddenError(data));
  await settled();
  expect(source.watches).toHaveLength(2); // everything, then this one: it goes on by asking
  await ask([row("a", { state: "complete" })]);
  expect(states()).toEqual({ a: "complete" });
});

test("a page that is hidden while it reads asks as soon as it has read", async () => {
  store.subscribe(() => {});
  hide();
  expect(source.requests).toHaveLength(1);
  await source.answer({ operations: [row("a")], position: "e:0" });
  expect(open()).toEqual([]);
  await ask([row("a", { state: "complete" })]);
  expect(states()).toEqual({ a: "complete" });
});

import type { Hub, LoggedEvent, WatchItem } from "tidings";
import { expect, test } from "vitest";
import { LogModel } from "../../src/pages/log/log-model.ts";
import { followLog, type LogStatus } from "../../src/pages/log/log-source.ts";

const event = (number: number, data: object = {}, type = "operation:log") => ({
  type,
  timestamp: new Date(1_000 * number).toISOString(),
  trace_id: "t",
  channel: "operations",
  position: `e:${number}`,
  data: { operation_id: "op-1", level: "info", message: `line ${number}`, ...data },
});

/** A hub whose history holds `kept` events, and that answers `page` events at a time. */
class FakeHub {
  readonly since: (string | undefined)[] = [];
  deliver: (item: WatchItem) => void = () => {};
  followedFrom: string | undefined;
  signal: AbortSignal | undefined;
  readonly kept: readonly object[];
  readonly page: number;
  gap: object = {};

  constructor(kept: number | readonly object[], page: number) {
    this.kept = typeof kept === "number" ? Array.from({ length: kept }, (_, index) => event(index + 1)) : kept;
    this.page = page;
  }

  readonly request = async (_path: string, { query }: { query: { since: string } }): Promise<unknown> => {
    this.since.push(query.since);
    const begin = query.since === "first" ? 0 : Number(query.since);
    const end = Math.min(this.kept.length, begin + this.page);
    const next = end === this.kept.length ? "e:head" : String(end);
    return { events: this.kept.slice(begin, end), next, position: "e:head", ...this.gap };
  };

  readonly watch = (
    _path: string,
    callback: (item: WatchItem) => void,
    options: { since: string; signal: AbortSignal },
  ) => {
    this.deliver = callback;
    this.followedFrom = options.since;
    this.signal = options.signal;
    return () => {};
  };

  event(number: number, more: object = {}, type = "operation:log"): void {
    this.deliver(event(number, more, type) as WatchItem);
  }
}

function follow(fake: FakeHub, model: LogModel) {
  const frames: (() => void)[] = [];
  const seen: LogStatus[] = [];
  const stop = followLog(fake as unknown as Hub, "op-1", model, {
    schedule: (run) => frames.push(run),
    changed: (status) => seen.push(status),
  });
  const frame = () => {
    for (const run of frames.splice(0)) run();
  };
  const read = async () => {
    while (seen.length === 0) await Promise.resolve();
  };
  return { frames, frame, seen, stop, read };
}

const texts = (model: LogModel) => [...model.lines()].map(({ text }) => text);

test("the kept lines are read to the head of the log, and followed from there", async () => {
  const [fake, model] = [new FakeHub(25, 10), new LogModel()];
  const { read, seen } = follow(fake, model);
  await read();
  expect(fake.since).toEqual(["first", "10", "20"]);
  expect(texts(model)).toEqual(Array.from({ length: 25 }, (_, index) => `line ${index + 1}`));
  expect(fake.followedFrom).toBe("e:head");
  expect(seen).toEqual([{ state: "following", isTrimmed: false, error: undefined }]);
});

test("new lines come once a frame, however many there are", async () => {
  const [fake, model] = [new FakeHub(0, 10), new LogModel()];
  const { read, frame, frames, seen } = follow(fake, model);
  await read();
  for (let number = 1; number <= 1_000; number++) fake.event(number);
  expect(frames).toHaveLength(1);
  expect(texts(model)).toEqual([]);
  frame();
  expect(texts(model)).toHaveLength(1_000);
  expect(seen).toHaveLength(2);
});

test("a hidden page does not gather lines without bound", async () => {
  const [fake, model] = [new FakeHub(0, 10), new LogModel({ lines: 100, characters: 1e6, aside: 10 })];
  const { read } = follow(fake, model);
  await read();
  for (let number = 1; number <= 50_000; number++) fake.event(number);
  expect(model.newest).toBe("e:50000");
  expect(model.entries.length).toBeLessThanOrEqual(100);
});

test("other operations, other types and a repeated line add nothing", async () => {
  const [fake, model] = [new FakeHub(3, 10), new LogModel()];
  const { read, frame } = follow(fake, model);
  await read();
  fake.event(3);
  fake.event(4, { operation_id: "op-10" });
  fake.event(5, {}, "operation:progress");
  fake.event(6, { message: 7, level: {} });
  const empty = { type: "operation:log", timestamp: "", trace_id: "", channel: "", position: "e:9", data: null };
  fake.deliver(empty as LoggedEvent as WatchItem);
  frame();
  expect(texts(model)).toEqual(["line 1", "line 2", "line 3", ""]);
});

test("lines after a start belong to its attempt", async () => {
  const kept = [event(0, { attempt: 1 }, "operation:start"), event(1)];
  const [fake, model] = [new FakeHub(kept, 1), new LogModel()];
  const { read, frame } = follow(fake, model);
  await read();
  fake.event(2);
  fake.event(3, { attempt: 2 }, "operation:start");
  fake.event(4);
  frame();
  expect([...model.lines()].map(({ attempt }) => attempt)).toEqual([1, 1, 2]);
});

test("a gap and an overflow are said between the lines", async () => {
  const [fake, model] = [new FakeHub(1, 10), new LogModel()];
  const { read, frame } = follow(fake, model);
  await read();
  fake.event(2);
  fake.deliver({ type: "channel:gap", data: { after: "e:2", until: "e:9", reason: "trimmed" } });
  fake.event(10);
  fake.deliver({ type: "client:overflow", data: { after: "e:10", until: "e:15", dropped: 5 } });
  fake.event(16);
  frame();
  expect(model.entries.map((entry) => (entry.kind === "line" ? entry.text : entry.lines))).toEqual([
    "line 1",
    "line 2",
    undefined,
    "line 10",
    5,
    "line 16",
  ]);
});

test("a hub that removed lines says so, and a failure is reported", async () => {
  const [fake, model] = [new FakeHub(5, 10), new LogModel()];
  fake.gap = { gap: { reason: "trimmed" } };
  const trimmed = follow(fake, model);
  await trimmed.read();
  expect(trimmed.seen[0]?.isTrimmed).toBe(true);
  const error = new Error("no");
  const failing = { request: () => Promise.reject(error), watch: () => () => {} };
  const seen: LogStatus[] = [];
  followLog(failing as unknown as Hub, "op-1", model, { schedule: () => {}, changed: (status) => seen.push(status) });
  while (seen.length === 0) await Promise.resolve();
  expect(seen[0]).toMatchObject({ state: "failed", error });
});

test("ending it ends the watch and reports no more", async () => {
  const [fake, model] = [new FakeHub(1, 10), new LogModel()];
  const { read, stop, frame, seen } = follow(fake, model);
  await read();
  stop();
  expect(fake.signal?.aborted).toBe(true);
  fake.event(2);
  frame();
  expect(seen).toHaveLength(1);
});

/** Watches share connections: each gets its own events, and paths that no one needs are read no longer. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { connect, type Hub, type WatchItem } from "../src/index.ts";
import { FakeWorld, json } from "./fakes.ts";
import { startHub, type TestHub } from "./hub.ts";

let server: TestHub;
let folder: string;
let hub: Hub;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tidings-contract-"));
  const contract =
    '[[events]]\ntype = "trade:executed"\nchannel = "trades"\nkey = "trade_id"\nfields = { trade_id = "string" }\n';
  await writeFile(join(folder, "events.toml"), contract);
  server = await startHub({ args: ["--contract", join(folder, "events.toml")] });
});
afterEach(() => hub.close());
afterAll(async () => {
  await server.stop();
  await rm(folder, { recursive: true });
});

/** Watch a path; `until` resolves when an item fits. */
function follow(path: string | string[]): {
  items: WatchItem[];
  stop: () => void;
  until: (fits: (item: WatchItem) => boolean) => Promise<void>;
} {
  const items: WatchItem[] = [];
  let wake = (): void => {};
  const stop = hub.watch(path, (item) => {
    items.push(item);
    wake();
  });
  const until = (fits: (item: WatchItem) => boolean): Promise<void> =>
    new Promise((resolve) => {
      wake = () => {
        if (items.some(fits)) resolve();
      };
      wake();
    });
  return { items, stop, until };
}

const live = ({ type }: WatchItem): boolean => type === "channel:live";
const at = (position: string | undefined) => (item: WatchItem) => "position" in item && item.position === position;
const keys = (items: readonly WatchItem[]): unknown[] =>
  items.flatMap((item) => ("position" in item ? [Object.values(item.data ?? {})[0]] : []));

test("types of an application are told apart by the keys of its contract", async () => {
  hub = connect(server.url);
  const one = follow("trades/one");
  const many = follow(["trades/t*", "data"]);
  await Promise.all([one.until(live), many.until(live)]);
  const trade = (trade_id: string) => ({ type: "trade:executed", data: { trade_id } });
  const [, , , last] = await server.publish(trade("one"), trade("two"), trade("three"), trade("ten"));
  await many.until(at(last));
  const [end] = await server.publish(trade("one"));
  await one.until(at(end));
  expect(keys(one.items)).toEqual(["one", "one"]);
  expect(keys(many.items)).toEqual(["two", "three", "ten"]);
});

test("a path is read no longer after its last watch, also if it covers another one", async () => {
  hub = connect(server.url);
  const update = (dataset: string) => ({ type: "data:update", data: { dataset } });
  await server.publish(update("share.a"));
  const wide = follow("data");
  await wide.until(live);
  const narrow = follow("data/share.*");
  await narrow.until(live);
  const states: string[] = [];
  const stopState = hub.connection.subscribe(() => states.push(hub.connection.getSnapshot().state));
  wide.stop();
  const [, second] = await server.publish(update("other"), update("share.b"));
  await narrow.until(at(second));
  const again = follow("data/other");
  await again.until(live);
  const [third] = await server.publish(update("share.c"));
  await narrow.until(at(third));
  expect(keys(narrow.items)).toEqual(["share.a", "share.b", "share.c"]);
  expect(narrow.items.filter(({ type }) => type === "channel:live")).toHaveLength(1);
  expect(keys(again.items)).toEqual(["other"]);
  expect(states).toEqual([]);
  stopState();
});

test("a tab has at most two sockets, whatever it watches", async () => {
  const world = new FakeWorld();
  world.respond = () => json({ operations: [], position: "p:0" });
  const client = world.connect();
  hub = client;
  const stops = Array.from({ length: 50 }, (_, index) => client.watch(`data/${index}`, () => {}));
  stops.push(client.connection.subscribe(() => {}));
  for (let index = 0; index < 50; index += 1) stops.push(client.paced.watch(["operations"], "now", quietSink));
  await world.settle();
  expect(world.sockets.map(({ url }) => new URL(url).search).sort()).toEqual(["", "?pace_ms=250"]);
  for (const stop of stops) stop();
  await world.pass(2_000);
  expect(world.live).toBe(0);
});

test("who shows the state needs no socket of their own beside the one with a pace", async () => {
  const world = new FakeWorld();
  const client = world.connect();
  hub = client;
  const stopPaced = client.paced.watch(["operations"], "now", quietSink);
  const stopState = client.connection.subscribe(() => {});
  await world.settle();
  expect(world.sockets.map(({ url }) => new URL(url).search)).toEqual(["?pace_ms=250"]);
  stopPaced();
  await world.pass(2_000);
  expect(world.live).toBe(1);
  stopState();
  await world.pass(2_000);
  expect(world.live).toBe(0);
});

const quietSink = { persistent: true, take: () => {}, end: () => {} };

test("the worse of two connections is shown", async () => {
  const world = new FakeWorld();
  const client = world.connect();
  hub = client;
  client.watch("data", () => {});
  client.paced.watch(["operations"], "now", quietSink);
  await world.settle();
  for (const socket of world.sockets) {
    socket.open();
    socket.greet();
  }
  await world.settle();
  for (const socket of world.sockets) socket.goLive();
  expect(client.connection.getSnapshot().state).toBe("live");
  world.sockets[1]?.end(1006);
  expect(client.connection.getSnapshot().state).toBe("stale");
});

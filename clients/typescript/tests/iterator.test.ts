/** Iterators of watches: bounded, ended in every way, and without leaks. */
import { expect, test } from "vitest";
import type { HubClient } from "../src/client.ts";
import { connect } from "../src/index.ts";
import type { ConnectOptions } from "../src/options.ts";
import { FakeWorld, json } from "./fakes.ts";

async function start(options: ConnectOptions = {}): Promise<{ world: FakeWorld; hub: HubClient }> {
  const world = new FakeWorld();
  const hub = world.connect(options);
  return { world, hub };
}

async function goLive(world: FakeWorld): Promise<void> {
  await world.settle();
  world.socket.open();
  world.socket.greet();
  await world.settle();
  world.socket.goLive();
}

test("a slow iterator gets what fits, then the range of what was dropped, then goes on", async () => {
  const { hub, world } = await start({ bufferSize: 5 });
  const items = hub.watch("data");
  await goLive(world);
  for (let number = 1; number <= 100; number += 1) world.socket.event(`p:${number}`);
  const read: unknown[] = [];
  for (let count = 0; count < 6; count += 1) {
    const { value } = await items.next();
    read.push(value.type === "data:update" ? value.position : value.type);
    if (value.type === "client:overflow") {
      expect(value.data).toEqual({ after: "p:3", until: "p:100", dropped: 97 });
    }
  }
  expect(read).toEqual(["channel:subscribed", "channel:live", "p:1", "p:2", "p:3", "client:overflow"]);
  world.socket.event("p:101");
  expect((await items.next()).value).toMatchObject({ position: "p:101" });
  hub.close();
});

test("what is dropped can be read again from the end of what was read", async () => {
  const { hub, world } = await start({ bufferSize: 3 });
  const items = hub.watch("data");
  await goLive(world);
  for (let number = 1; number <= 9; number += 1) world.socket.event(`p:${number}`);
  let after = "";
  for await (const item of items) {
    if (item.type === "client:overflow") after = item.data.after;
    if (item.type === "client:overflow") break;
  }
  const asked: URL[] = [];
  world.respond = (url) => {
    asked.push(url);
    return json({ events: [], next: "p:9", position: "p:9" });
  };
  const stop = hub.watch("system", () => {}); // keeps the connection
  hub.watch("data", { since: after });
  await world.settle();
  world.socket.goLive("p:9", "live");
  await world.settle();
  expect(after).toBe("p:1");
  stop();
  hub.close();
});

test.each([
  ["break", async (world: FakeWorld, hub: HubClient) => void (await readUntilLive(world, hub, () => "break"))],
  [
    "throw",
    async (world: FakeWorld, hub: HubClient) => {
      const boom = (): string => {
        throw new RangeError("mine");
      };
      await expect(readUntilLive(world, hub, boom)).rejects.toThrow(RangeError);
    },
  ],
  [
    "abort",
    async (world: FakeWorld, hub: HubClient) => {
      const controller = new AbortController();
      const reading = readUntilLive(world, hub, () => controller.abort(), controller.signal);
      expect(await reading.catch((error: unknown) => error)).toBe(controller.signal.reason);
    },
  ],
  [
    "return",
    async (world: FakeWorld, hub: HubClient) => {
      const items = hub.watch("data");
      await goLive(world);
      await items.next();
      expect(await items.return?.()).toEqual({ value: undefined, done: true });
      expect(await items.next()).toEqual({ value: undefined, done: true });
    },
  ],
])("after %s the watch is gone, and the connection with it", async (_, end) => {
  const { hub, world } = await start();
  await end(world, hub);
  await world.pass(2_000);
  expect(world.live).toBe(0);
  expect(world.timers.size).toBe(0);
});

async function readUntilLive(
  world: FakeWorld,
  hub: HubClient,
  act: () => unknown,
  signal?: AbortSignal,
): Promise<void> {
  const going = goLive(world);
  for await (const item of hub.watch("data", signal === undefined ? {} : { signal })) {
    await going;
    if (item.type === "channel:live" && act() === "break") break;
  }
}

test("an abort ends a read that waits, and leaves no listener at the signal", async () => {
  const { hub, world } = await start();
  const controller = new AbortController();
  let listeners = 0;
  const { signal } = controller;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    listeners += 1;
    add(...args);
  };
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    listeners -= 1;
    remove(...args);
  };
  for (let count = 0; count < 100; count += 1) {
    const items = hub.watch("data", { signal });
    await items.return?.();
    hub.watch("data", () => {}, { signal })();
  }
  expect(listeners).toBe(0);
  const waiting = hub.watch("data", { signal }).next();
  controller.abort(new Error("enough"));
  await expect(waiting).rejects.toThrow("enough");
  expect(listeners).toBe(0);
  await world.pass(2_000);
  expect(world.live).toBe(0);
});

test("a signal that is aborted already ends the watch before it begins", async () => {
  const { hub, world } = await start();
  await expect(hub.watch("data", { signal: AbortSignal.abort() }).next()).rejects.toMatchObject({ name: "AbortError" });
  hub.watch("data", () => {}, { signal: AbortSignal.abort() })();
  await world.settle();
  expect(world.sockets).toHaveLength(0);
});

test("reads that wait at the same time are served in order", async () => {
  const { hub, world } = await start();
  const items = hub.watch("data");
  const reads = [items.next(), items.next(), items.next()];
  await goLive(world);
  world.socket.event("p:1");
  const types = (await Promise.all(reads)).map(({ value }) => value.type);
  expect(types).toEqual(["channel:subscribed", "channel:live", "data:update"]);
  hub.close();
});

test("a callback that throws stops neither its watch nor another", async () => {
  const { hub, world } = await start();
  const errors: unknown[] = [];
  const report = globalThis.reportError;
  globalThis.reportError = (error) => errors.push(error);
  try {
    let first = 0;
    let second = 0;
    hub.watch("data", () => {
      first += 1;
      throw new Error("mine");
    });
    hub.watch("data", () => {
      second += 1;
    });
    await goLive(world);
    world.socket.event("p:1");
    expect([first, second, errors.length]).toEqual([3, 3, 3]);
  } finally {
    globalThis.reportError = report;
  }
  hub.close();
});

test("a watch may begin or end another in its callback", async () => {
  const { hub, world } = await start();
  const seen: string[] = [];
  const stop = hub.watch("data", (item) => {
    seen.push(item.type);
    if (item.type === "channel:live") {
      stop();
      hub.watch("data/b", () => seen.push("never live"));
    }
  });
  await goLive(world);
  world.socket.event("p:1");
  expect(seen).toEqual(["channel:subscribed", "channel:live"]);
  hub.close();
});

test("a refusal of a path ends its watch alone", async () => {
  const { hub, world } = await start();
  const good: string[] = [];
  hub.watch("data", (item) => good.push(item.type));
  const bad = hub.watch("nonsense").next();
  await world.settle();
  world.socket.open();
  world.socket.greet();
  await world.settle();
  const [both] = world.socket.sentOf("channel:subscribe");
  const refusal = { code: "unknown_channel", message: "there is no channel 'nonsense'", recoverable: false, hint: "h" };
  world.socket.receive({ type: "connection:error", reply_to: both?.id, data: refusal });
  await world.settle();
  const [, first, second] = world.socket.sentOf("channel:subscribe");
  expect([first?.data["channels"], second?.data["channels"]]).toEqual([["data"], ["nonsense"]]);
  const data = { channels: ["data", "global"], position: "p:0", outcome: "snapshot" };
  world.socket.receive({ type: "channel:subscribed", reply_to: first?.id, data });
  world.socket.receive({ type: "connection:error", reply_to: second?.id, data: refusal });
  world.socket.receive({ type: "channel:live", data });
  await expect(bad).rejects.toMatchObject({ name: "HubError", code: "unknown_channel", hint: "h" });
  expect(good).toEqual(["channel:subscribed", "channel:live"]);
  hub.close();
});

test("after `close`, iterators end with an error that says so", async () => {
  const { hub, world } = await start();
  const waiting = hub.watch("data").next();
  await world.settle();
  hub.close();
  await expect(waiting).rejects.toMatchObject({ code: "client_closed" });
  await expect(hub.watch("data").next()).rejects.toMatchObject({ code: "client_closed" });
  expect(world.live).toBe(0);
});

test("the error of a watch is thrown once, to the first of several readers that wait, and the others are done", async () => {
  const { hub } = await start();
  const items = hub.watch("data");
  const readers = [items.next(), items.next(), items.next()];
  hub.close();
  const [first, ...others] = await Promise.allSettled(readers);
  expect(first).toMatchObject({ status: "rejected", reason: { code: "client_closed" } });
  const done = { status: "fulfilled", value: { value: undefined, done: true } };
  expect(others).toEqual([done, done]);
});

test("outside of a page a client needs the URL of a hub", () => {
  expect(() => connect()).toThrow("invalid hub URL ''");
});

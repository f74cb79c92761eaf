/** The life of a connection, in a world in which nothing happens by itself. */
import { describe, expect, test, vi } from "vitest";
import type { HubClient } from "../src/client.ts";
import type { RawItem } from "../src/items.ts";
import { FakeWorld, json, live, state } from "./fakes.ts";
import { ABOUT } from "./streams.ts";

describe("connecting", () => {
  test("nothing is opened before someone watches, and all is closed after the last", async () => {
    const world = new FakeWorld();
    const hub = world.connect();
    await world.pass(60_000);
    expect(world.sockets).toHaveLength(0);
    const stop = hub.watch("data", () => {});
    await world.settle();
    expect(world.sockets).toHaveLength(1);
    stop();
    await world.pass(2_000);
    expect(world.live).toBe(0);
    expect([world.timers.size, world.listeners.size]).toEqual([0, 0]);
    expect(state(hub)).toBe("connecting: idle");
  });

  test("a client that is used again notices what has happened to the page meanwhile", async () => {
    const world = new FakeWorld();
    const hub = world.connect();
    hub.watch("data", () => {})();
    await world.pass(2_000);
    world.page("hidden");
    hub.watch("data", () => {});
    await world.settle();
    world.socket.open();
    world.socket.greet();
    await world.pass(60_000);
    expect(world.socket.sentOf("connection:ping")).toEqual([]);
    world.page("shown");
    await world.pass(100);
    expect(world.socket.sentOf("connection:ping")).toHaveLength(1);
  });

  test("a page that replaces its watch keeps the connection", async () => {
    const world = new FakeWorld();
    const hub = world.connect();
    for (let mount = 0; mount < 10; mount += 1) {
      const stop = hub.watch("data", () => {});
      await world.settle();
      stop();
      await world.pass(500);
    }
    expect(world.sockets).toHaveLength(1);
  });

  test("a listener of the state keeps a connection, and a hundred need no more", async () => {
    const world = new FakeWorld();
    const hub = world.connect();
    const stops = Array.from({ length: 100 }, () => hub.connection.subscribe(() => {}));
    await world.settle();
    expect(world.sockets).toHaveLength(1);
    for (const stop of stops) stop();
    await world.pass(2_000);
    expect(world.live).toBe(0);
  });

  test("a socket that connects for 10 s is aborted", async () => {
    const world = new FakeWorld();
    const hub = world.connect();
    hub.watch("data", () => {});
    await world.pass(10_100);
    expect(world.sockets[0]?.gone).toBe(true);
    expect(state(hub)).toBe("connecting: lost");
    expect(hub.connection.getSnapshot().reason.error).toMatchObject({ code: "hub_unreachable" });
  });

  test("a socket that connects since before a sleep is aborted within 3 s", async () => {
    const world = new FakeWorld();
    world.connect().watch("data", () => {});
    await world.settle();
    world.sleep(3_600_000);
    world.page("woken");
    await world.pass(3_000);
    expect(world.sockets[0]?.gone).toBe(true);
    await world.pass(1_000);
    expect(world.live).toBe(1);
  });
});

describe("reconnecting", () => {
  test("a hundred reconnects add no listener, timer or socket", async () => {
    const world = new FakeWorld();
    const hub = world.connect();
    hub.connection.subscribe(() => {});
    await live(world, hub);
    const counts = new Set<string>();
    for (let round = 0; round < 100; round += 1) {
      world.socket.end();
      for (let wait = 0; world.live === 0 && wait < 500; wait += 1) await world.pass(100);
      world.socket.open();
      world.socket.greet();
      await world.settle();
      world.socket.goLive("p:0", "complete");
      counts.add(`${world.live} ${world.listeners.size} ${world.timers.size}`);
    }
    expect([...counts]).toEqual(["1 1 1"]);
    expect(hub.connection.getSnapshot().attempts).toHaveLength(10);
    expect(hub.connection.getSnapshot().attempts.at(-1)).toMatchObject({ outcome: "complete" });
  });

  test("a client that is signed out connects again after signing in, also with operations", async () => {
    const world = new FakeWorld();
    world.respond = () => json(ABOUT);
    const hub = world.connect({ transport: "websocket" });
    hub.watch("data", () => {});
    hub.operations.subscribe(() => {});
    // The module with the store loads in the meantime.
    await vi.waitFor(async () => {
      await world.settle();
      expect(world.live).toBe(2);
    });
    hub.signOut();
    expect([world.live, state(hub)]).toEqual([0, "closed: signed-out"]);
    hub.signIn("token");
    await world.settle();
    expect([world.live, hub.connection.getSnapshot().state]).toEqual([2, "connecting"]);
    hub.close();
  });

  test("whatever the order of their triggers, there are never two sockets", async () => {
    for (let seed = 1; seed <= 500; seed += 1) {
      const world = new FakeWorld();
      world.respond = () => json(ABOUT);
      let random = seed;
      const pick = (count: number): number => {
        random = (random * 48_271) % 2_147_483_647;
        return random % count;
      };
      const hub = world.connect({ transport: "websocket" });
      hub.watch("data", () => {});
      const triggers: (() => void | Promise<void>)[] = [
        () => world.page("shown"),
        () => world.page("hidden"),
        () => world.page("woken"),
        () => world.page("frozen"),
        () => world.page("online"),
        () => world.page("offline"),
        () => world.sleep(100_000),
        () => hub.retryNow(),
        () => hub.signIn("token"),
        () => hub.signOut(),
        () => world.pass(pick(12_000)),
        () => world.settle(),
        () => world.sockets.at(-1)?.open(),
        () => world.sockets.at(-1)?.greet(pick(2) === 0 ? "none" : "required"),
        () => world.sockets[pick(world.sockets.length || 1)]?.end(1006),
        () => world.sockets[pick(world.sockets.length || 1)]?.end(4001),
        () => world.sockets[pick(world.sockets.length || 1)]?.event("p:1"),
      ];
      for (let step = 0; step < 40; step += 1) {
        await triggers[pick(triggers.length)]?.();
        if (world.live > 1) throw new Error(`${world.live} sockets with seed ${seed}, step ${step}`);
      }
      hub.close();
      expect(world.live).toBe(0);
      expect(world.timers.size).toBe(0);
      expect(world.listeners.size).toBe(0);
    }
  });

  test("a hub that closes in place of its greeting is asked again after the delay that it names", async () => {
    const world = new FakeWorld();
    const hub = world.connect();
    hub.watch("data", () => {});
    await world.settle();
    world.socket.open();
    const reason = "the hub is opening its log: 312,000 of 500,000 rows read";
    world.socket.receive({
      type: "connection:closed",
      data: { code: 1013, reason, reconnect: true, retry_after_ms: 1_500 },
    });
    world.socket.end(1013, reason);
    expect(state(hub)).toBe("connecting: lost");
    expect(hub.connection.getSnapshot().reason.error).toMatchObject({
      code: "connection_lost",
      message: reason,
      closeCode: 1013,
    });
    await world.pass(1_499);
    expect(world.live).toBe(0);
    await world.pass(1_000);
    expect(world.live).toBe(1);
    world.socket.open();
    world.socket.greet();
    expect(hub.connection.getSnapshot().reason.error).toBeUndefined();
  });

  test("the delay that the hub asks for is kept, also when the page is shown", async () => {
    const world = new FakeWorld();
    await live(world);
    const data = { code: 1013, reason: "too many", reconnect: true, retry_after_ms: 20_000 };
    world.socket.receive({ type: "connection:closed", data });
    world.socket.end(1013);
    world.page("shown");
    await world.pass(19_999);
    expect(world.live).toBe(0);
    await world.pass(1_000);
    expect(world.live).toBe(1);
  });

  test.each([1000, 1008, 4003, 4029])("after close code %i the client stays closed", async (code) => {
    const world = new FakeWorld();
    const hub = world.connect();
    await live(world, hub);
    world.socket.end(code, "policy");
    await world.pass(600_000);
    expect(world.sockets).toHaveLength(1);
    expect(state(hub)).toBe("closed: refused");
    expect(hub.connection.getSnapshot().reason.error).toMatchObject({ code: "hub_closed", closeCode: code });
    hub.retryNow();
    await world.settle();
    expect(world.live).toBe(1);
  });

  test.each([1001, 1006, 1011, 1012, 1013, 4051, 4100, 4102])(
    "after close code %i the client connects again",
    async (code) => {
      const world = new FakeWorld();
      await live(world);
      world.socket.end(code);
      await world.pass(31_000);
      expect(world.sockets.length).toBeGreaterThan(1);
    },
  );
});

describe("another pace", () => {
  const paces = (world: FakeWorld): unknown[] =>
    world.sockets.map(({ url }) => new URL(url).searchParams.get("pace_ms")).filter((pace) => pace !== null);

  /** Follow operations with a client, as its store does. */
  async function follow(world: FakeWorld, hub: HubClient): Promise<RawItem[]> {
    const items: RawItem[] = [];
    const take = (taken: readonly RawItem[]): void => void items.push(...taken);
    hub.paced.watch(["data"], "p:0", { persistent: true, take, end: () => {} });
    await reach(world, "p:0");
    return items;
  }

  async function reach(world: FakeWorld, position: string, outcome = "complete"): Promise<void> {
    await world.settle();
    world.socket.open();
    world.socket.greet("none", position);
    await world.settle();
    world.socket.goLive(position, outcome);
  }

  test("goes on where it was, and nobody notices", async () => {
    const world = new FakeWorld();
    const hub = world.connect();
    const items = await follow(world, hub);
    const states: string[] = [];
    hub.connection.subscribe(() => states.push(state(hub)));
    world.socket.event("p:3");
    hub.paced.pace(5_000);
    await reach(world, "p:4");
    expect(world.socket.sentOf("channel:subscribe")[0]?.data).toMatchObject({ since: "p:3" });
    hub.paced.pace(250);
    await reach(world, "p:5");
    world.socket.event("p:6");
    expect(paces(world)).toEqual(["250", "5000", "250"]);
    expect(world.live).toBe(1);
    expect(items.flatMap((item) => ("position" in item ? [item.position] : []))).toEqual(["p:3", "p:6"]);
    expect(items.filter(({ type }) => type === "channel:subscribed")).toHaveLength(1);
    expect([new Set(states), hub.connection.getSnapshot().attempts]).toEqual([new Set(["live: connected"]), []]);
  });

  test("replaces a connection that still opens with the one before", async () => {
    const world = new FakeWorld();
    const hub = world.connect();
    await follow(world, hub);
    hub.paced.pace(5_000);
    await world.settle();
    hub.paced.pace(250);
    await reach(world, "p:1");
    expect([paces(world), world.live, state(hub)]).toEqual([["250", "5000", "250"], 1, "live: connected"]);
    hub.paced.pace(5_000);
    await reach(world, "p:1");
    expect([paces(world).at(-1), state(hub)]).toEqual(["5000", "live: connected"]);
  });

  test("tells of a hub that lost its log in between", async () => {
    const world = new FakeWorld();
    const hub = world.connect();
    const items = await follow(world, hub);
    hub.paced.pace(5_000);
    await reach(world, "q:0", "gap");
    world.socket.receive({ type: "channel:gap", data: { after: "p:0", until: "q:0", reason: "other_log" } });
    expect(items.at(-1)).toMatchObject({ type: "channel:gap", data: { until: "q:0" } });
  });

  test("is for the next connection, where there is none", async () => {
    const world = new FakeWorld();
    const hub = world.connect();
    hub.paced.pace(5_000);
    await world.settle();
    expect(world.sockets).toHaveLength(0);
    await follow(world, hub);
    expect(paces(world)).toEqual(["5000"]);
  });
});

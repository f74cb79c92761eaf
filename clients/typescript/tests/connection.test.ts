/** The life of a connection, in a world in which nothing happens by itself. */
import { describe, expect, test, vi } from "vitest";
import type { HubClient } from "../src/client.ts";
import type { RawItem, WatchItem } from "../src/items.ts";
import { FakeWorld, json } from "./fakes.ts";

const ABOUT = { name: "tidings", websocket: { subprotocol: "tidings.v1" } };

/** A client that watches `data` and is live. */
async function live(world: FakeWorld, hub: HubClient = world.connect()): Promise<WatchItem[]> {
  const items: WatchItem[] = [];
  hub.watch("data", (item) => items.push(item));
  await world.settle();
  world.socket.open();
  world.socket.greet();
  await world.settle();
  world.socket.goLive();
  return items;
}

function state(hub: HubClient): string {
  const { reason, state } = hub.connection.getSnapshot();
  return `${state}: ${reason.code}`;
}

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
    expect(world.timers.size).toBe(0);
    expect(state(hub)).toBe("connecting: idle");
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

describe("liveness", () => {
  test("silence leads to a ping after 5 s, and to another socket after 3 s more", async () => {
    const world = new FakeWorld();
    const hub = world.connect();
    await live(world, hub);
    const first = world.socket;
    await world.pass(4_999);
    expect(first.sentOf("connection:ping")).toHaveLength(0);
    await world.pass(1);
    expect(first.sentOf("connection:ping")).toHaveLength(1);
    await world.pass(3_100);
    expect(state(hub)).toBe("stale: lost");
    expect(first.gone).toBe(true);
    await world.pass(500);
    expect(world.live).toBe(1);
  });

  test("when the hub was heard is known at any time, and calls no listener", async () => {
    const world = new FakeWorld();
    const hub = world.connect();
    expect(hub.heardAt()).toBeUndefined();
    await live(world, hub);
    const listener = vi.fn();
    hub.connection.subscribe(listener);
    const first = hub.heardAt() ?? Number.NaN;
    await world.pass(3_000);
    expect(hub.heardAt()).toBe(first);
    world.socket.event("p:1");
    expect(hub.heardAt()).toBe(first + 3_000);
    expect(listener).not.toHaveBeenCalled();
  });

  test("an answer to the ping keeps the socket", async () => {
    const world = new FakeWorld();
    const hub = world.connect();
    await live(world, hub);
    for (let round = 1; round < 20; round += 1) {
      await world.pass(5_000);
      expect(world.socket.sentOf("connection:ping")).toHaveLength(round);
      world.socket.receive({ type: "connection:pong", reply_to: "ping", data: { now: "2026-01-01T00:00:05Z" } });
    }
    expect(world.sockets).toHaveLength(1);
    expect(state(hub)).toBe("live: connected");
  });

  test("a socket that is open but dead after a sleep is stale within 1 s, and replaced", async () => {
    const world = new FakeWorld();
    const hub = world.connect();
    await live(world, hub);
    const zombie = world.socket;
    world.sleep(8 * 3_600_000);
    world.page("shown");
    await world.pass(1_000);
    expect(state(hub)).toBe("stale: silent");
    await world.pass(2_200);
    expect(zombie.gone).toBe(true);
    await world.pass(600);
    expect(world.live).toBe(1);
  });

  test("waking up with a healthy socket raises no alarm", async () => {
    const world = new FakeWorld();
    const hub = world.connect();
    await live(world, hub);
    const states: string[] = [];
    hub.connection.subscribe(() => states.push(state(hub)));
    world.page("hidden");
    await world.pass(3_600_000);
    expect(world.socket.sentOf("connection:ping")).toHaveLength(0);
    world.page("shown");
    world.page("woken");
    world.page("online");
    world.socket.event("p:1"); // queued while the page was frozen: it proves nothing
    await world.pass(60);
    expect(world.socket.sentOf("connection:ping")).toHaveLength(1);
    await world.pass(100);
    world.socket.receive({ type: "connection:pong", reply_to: "ping", data: { now: "2026-01-01T01:00:00Z" } });
    await world.pass(4_000);
    expect(states).toEqual([]);
    expect(world.sockets).toHaveLength(1);
  });

  test("a message that was queued before the sleep does not hide that the socket is dead", async () => {
    const world = new FakeWorld();
    const hub = world.connect();
    await live(world, hub);
    world.sleep(3_600_000);
    world.page("shown");
    world.socket.event("p:1");
    await world.pass(100);
    world.socket.event("p:2");
    await world.pass(900);
    expect(state(hub)).toBe("stale: silent");
  });

  test("a clock that jumps leads to one probe", async () => {
    const world = new FakeWorld();
    await live(world);
    world.sleep(60_000); // no event of the page tells of it
    world.socket.event("p:1");
    await world.pass(60);
    expect(world.socket.sentOf("connection:ping")).toHaveLength(1);
  });

  test("a page that was blocked when the answer came asks once more", async () => {
    const world = new FakeWorld();
    const hub = world.connect();
    await live(world, hub);
    await world.pass(5_000);
    world.time += 20_000; // the main thread was busy: no timer ran
    await world.pass(100);
    expect(world.socket.sentOf("connection:ping")).toHaveLength(2);
    world.socket.receive({ type: "connection:pong", reply_to: "ping", data: { now: "2026-01-01T00:00:00Z" } });
    expect(state(hub)).toBe("live: connected");
    expect(world.sockets).toHaveLength(1);
  });

  test("a hidden page sends nothing, and reads on", async () => {
    const world = new FakeWorld();
    const items = await live(world);
    world.page("hidden");
    for (let count = 0; count < 1_000; count += 1) world.socket.event(`p:${count}`);
    await world.pass(86_400_000);
    expect(world.socket.sentOf("connection:ping")).toHaveLength(0);
    expect(items).toHaveLength(1_002);
    expect(world.timers.size).toBe(0);
  });

  test("a page in the back-forward cache has no socket, and gets one when it comes back", async () => {
    const world = new FakeWorld();
    const hub = world.connect();
    const items = await live(world, hub);
    world.socket.event("p:7");
    world.page("frozen");
    expect(world.live).toBe(0);
    expect(state(hub)).toBe("stale: hidden");
    await world.pass(60_000);
    expect(world.live).toBe(0);
    world.page("woken");
    await world.settle();
    expect(world.live).toBe(1);
    world.socket.open();
    world.socket.greet("none", "p:9");
    await world.settle();
    expect(world.socket.sentOf("channel:subscribe")[0]?.data).toMatchObject({ since: "p:7" });
    world.socket.goLive("p:9", "complete");
    expect(items.at(-1)).toMatchObject({ type: "channel:live", data: { outcome: "complete" } });
  });
});

test("a page that was hidden when the client was made is probed when it is shown", async () => {
  const world = new FakeWorld();
  world.shown = false;
  const hub = world.connect();
  world.shown = true; // before anything was watched
  await live(world, hub);
  await world.pass(5_000);
  expect(world.socket.sentOf("connection:ping")).toHaveLength(1);
});

test("ten thousand events set no timer each, and change no state", async () => {
  const world = new FakeWorld();
  const hub = world.connect();
  const items = await live(world, hub);
  let timers = 0;
  const later = world.later.bind(world);
  world.later = (ms, callback) => {
    timers += 1;
    return later(ms, callback);
  };
  const before = hub.connection.getSnapshot();
  for (let number = 0; number < 10_000; number += 1) {
    world.time += 1;
    world.socket.event(`p:${number}`);
  }
  expect(items).toHaveLength(10_002);
  await world.pass(4_999);
  expect(timers).toBeLessThan(10);
  expect(world.socket.sentOf("connection:ping")).toHaveLength(0);
  await world.pass(1);
  expect(world.socket.sentOf("connection:ping")).toHaveLength(1);
  expect(hub.connection.getSnapshot()).toBe(before);
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

describe("state", () => {
  /** A client that is live on one connection, and opens the other one. */
  async function both(): Promise<{ world: FakeWorld; hub: HubClient; states: string[]; stop: () => void }> {
    const world = new FakeWorld();
    const hub = world.connect();
    const states: string[] = [];
    hub.connection.subscribe(() => states.push(state(hub)));
    await world.settle();
    world.socket.open();
    world.socket.greet();
    const sink = { persistent: true, take: () => {}, end: () => {} };
    const stop = hub.paced.watch(["operations"], "snapshot", sink);
    await world.settle();
    states.length = 0;
    return { world, hub, states, stop };
  }

  test("the first attempt of another connection is not reported, and the first one is left when it is live", async () => {
    const { states, world } = await both();
    await world.pass(3_000);
    expect([world.live, states]).toEqual([2, []]);
    world.socket.open();
    world.socket.greet();
    await world.settle();
    world.socket.goLive();
    await world.pass(2_000);
    expect([world.live, [...new Set(states)]]).toEqual([1, ["catching-up: catching-up", "live: connected"]]);
  });

  test("a store that reads its list again opens no other connection, and reports nothing", async () => {
    const { hub, states, stop, world } = await both();
    world.socket.open();
    world.socket.greet();
    await world.settle();
    world.socket.goLive();
    await world.pass(2_000);
    expect([world.sockets.length, world.live]).toEqual([2, 1]);
    states.length = 0;
    stop();
    await world.pass(3_000); // the list is long
    expect([world.sockets.length, world.live, states]).toEqual([2, 1, []]);
    hub.close();
  });

  test("a client that was live is stale while its other connection cannot be made", async () => {
    const { hub, world } = await both();
    world.socket.end();
    await world.settle();
    expect(state(hub)).toBe("stale: lost");
    world.sockets[0]?.end();
    for (let round = 0; round < 20; round += 1) {
      await world.pass(1_000);
      world.socket.end();
      expect(hub.connection.getSnapshot().state).toBe("stale");
    }
    hub.close();
  });

  test("snapshots stay the same object until something changes", async () => {
    const world = new FakeWorld();
    const hub = world.connect();
    await live(world, hub);
    const before = hub.connection.getSnapshot();
    for (let count = 0; count < 100; count += 1) world.socket.event(`p:${count}`);
    await world.pass(4_000);
    expect(hub.connection.getSnapshot()).toBe(before);
    expect(Object.isFrozen(before)).toBe(true);
    const server = hub.connection.getServerSnapshot();
    expect(server).toBe(hub.connection.getServerSnapshot());
    expect(server.state).toBe("connecting");
    world.socket.end();
    expect(hub.connection.getSnapshot()).not.toBe(before);
    expect(hub.connection.getSnapshot()).toBe(hub.connection.getSnapshot());
  });

  test("the time at which the hub was heard stays while the data is old", async () => {
    const world = new FakeWorld();
    const hub = world.connect();
    await live(world, hub);
    const heardAt = world.wall();
    await world.pass(8_100);
    expect(hub.connection.getSnapshot()).toMatchObject({ state: "stale", heardAt });
  });

  test("an offline device says so", async () => {
    const world = new FakeWorld();
    const hub = world.connect();
    await live(world, hub);
    world.page("offline");
    world.socket.end();
    expect(state(hub)).toBe("stale: offline");
    world.page("online");
    await world.settle();
    expect(world.live).toBe(1);
  });
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

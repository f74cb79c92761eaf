/** Whether a connection is alive, and what an application sees of it, in a world in which nothing happens by itself. */
import { describe, expect, test, vi } from "vitest";
import type { HubClient } from "../src/client.ts";
import { FakeWorld, live, state } from "./fakes.ts";

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

  test.each(["2026-01-01T01:00:00Z", "2025-12-31T23:00:00Z"])(
    "the clock of a busy hub is followed to %s",
    async (set) => {
      const world = new FakeWorld();
      const hub = world.connect();
      await live(world, hub);
      const traffic = async (seconds: number): Promise<void> => {
        for (let second = 0; second < seconds; second += 1) {
          await world.pass(1_000);
          world.socket.event(`p:${world.time}`);
        }
      };
      await traffic(9);
      expect(world.socket.sentOf("connection:ping")).toHaveLength(0);
      await traffic(1);
      expect(world.socket.sentOf("connection:ping")).toHaveLength(1);
      world.socket.receive({ type: "connection:pong", reply_to: "ping", data: { now: set } });
      expect(hub.clock.now()).toBe(Date.parse(set));
      await traffic(10);
      expect(world.socket.sentOf("connection:ping")).toHaveLength(2);
      world.page("hidden");
      await traffic(60);
      expect(world.socket.sentOf("connection:ping")).toHaveLength(2);
      expect(world.sockets).toHaveLength(1);
    },
  );

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
  await world.pass(0);
  expect(world.socket.sentOf("connection:ping")).toHaveLength(1);
  world.socket.receive({ type: "connection:pong", reply_to: "ping", data: { now: "2026-01-01T00:00:05Z" } });
  await world.pass(4_999);
  expect(timers).toBeLessThan(10);
  expect(world.socket.sentOf("connection:ping")).toHaveLength(1);
  await world.pass(1);
  expect(world.socket.sentOf("connection:ping")).toHaveLength(2);
  expect(hub.connection.getSnapshot()).toBe(before);
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

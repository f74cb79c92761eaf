/** From an event stream back to a WebSocket. */
import { createServer, type IncomingMessage } from "node:http";
import { connect as connectSocket, type Socket } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { HubClient } from "../src/client.ts";
import { makeEnvironment } from "../src/environment.ts";
import type { WatchItem } from "../src/index.ts";
import { FakeWorld } from "./fakes.ts";
import { startHub, type TestHub } from "./hub.ts";
import { forward, reach, Streams, settle } from "./streams.ts";

let server: TestHub;
const closing: (() => unknown)[] = [];

beforeAll(async () => {
  server = await startHub();
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});
afterAll(() => server.stop());

describe("the way back to a WebSocket", () => {
  /** A client that watches with and without a pace, and whose WebSockets do not open. */
  async function fallen(): Promise<{
    world: FakeWorld;
    hub: HubClient;
    streams: Streams;
    items: WatchItem[];
    paced: string[];
    states: string[];
  }> {
    const world = new FakeWorld();
    const streams = new Streams();
    world.respond = streams.respond;
    const hub = world.connect();
    const items: WatchItem[] = [];
    const paced: string[] = [];
    const states: string[] = [];
    hub.watch("data", (item) => items.push(item));
    hub.paced.watch(["data"], "snapshot", {
      persistent: true,
      take: (taken) => paced.push(...taken.map((item) => ("position" in item ? item.position : item.type))),
      end: () => {},
    });
    hub.connection.subscribe(() => states.push(hub.connection.getSnapshot().state));
    await settle(world);
    for (const socket of world.sockets) socket.end(); // one by one may be slowness
    await settle(world);
    expect(streams.open).toHaveLength(0);
    for (let wait = 0; streams.open.length === 0 && wait < 50; wait += 1) {
      await world.pass(100);
      for (const socket of world.sockets) if (!socket.gone) socket.end();
      await settle(world);
    }
    streams.goLive();
    await settle(world);
    expect(hub.connection.getSnapshot()).toMatchObject({ state: "live", transport: "sse" });
    expect(hub.connection.getSnapshot().attempts.at(-1)).toMatchObject({ outcome: "snapshot" });
    states.length = 0;
    return { world, hub, streams, items, paced, states };
  }

  test("is tried in growing intervals, while the stream goes on", async () => {
    const { hub, states, streams, world } = await fallen();
    const before = world.sockets.length;
    const begun = world.time;
    const tries: number[] = [];
    for (let second = 0; second < 2_000; second += 1) {
      await world.pass(1_000);
      if (second % 20 === 0) streams.open.at(-1)?.comment();
      await settle(world);
      if (world.live > 0) {
        tries.push(Math.round((world.time - begun) / 1_000));
        world.socket.end();
      }
    }
    expect(world.sockets.length - before).toBe(tries.length);
    const gaps = tries.map((at, index) => at - (tries[index - 1] ?? 0));
    expect(gaps.slice(0, 7)).toEqual([10, 30, 60, 120, 240, 480, 600]);
    expect([streams.open.length, [...new Set(states)]]).toEqual([1, []]);
    hub.close();
    expect(world.timers.size).toBe(0);
  });

  test("is taken where a WebSocket is greeted: nothing is lost, nothing comes twice, and nothing is stale", async () => {
    const { hub, items, paced, states, streams, world } = await fallen();
    const { attempts } = hub.connection.getSnapshot();
    streams.open[0]?.push({ type: "data:update", channel: "data", position: "p:3", data: {} });
    await world.pass(10_000);
    await settle(world);
    const probe = world.socket;
    probe.open();
    await settle(world);
    expect(probe.gone).toBe(false);
    probe.greet();
    expect([probe.gone, probe.sent]).toEqual([true, []]);
    await settle(world);
    expect(streams.open[0]?.cancelled()).toBe(true);
    const sockets = world.sockets.filter(({ gone }) => !gone);
    expect(sockets.map(({ url }) => url)).toEqual(["ws://hub.example/ws", "ws://hub.example/ws?pace_ms=250"]);
    for (const socket of sockets) {
      socket.open();
      socket.greet("none", "p:5");
      await settle(world);
      expect(socket.sentOf("channel:subscribe").map(({ data }) => data["since"])).toEqual(["p:3"]);
      socket.event("p:4");
      socket.goLive("p:5", "complete");
    }
    await settle(world);
    const seen = items.map((item) => ("position" in item ? item.position : item.type));
    expect(seen).toEqual(["channel:subscribed", "channel:live", "p:3", "p:4"]);
    expect(paced).toEqual(seen);
    expect(hub.connection.getSnapshot()).toMatchObject({ state: "live", transport: "websocket", attempts });
    expect([...new Set(states)]).toEqual(["live"]);
    expect(streams.open).toHaveLength(1);
    hub.close();
    expect([world.live, world.timers.size]).toEqual([0, 0]);
  });

  test("is looked for by no hidden page, and soon by one that is shown or online again", async () => {
    const { hub, streams, world } = await fallen();
    const before = world.sockets.length;
    world.page("hidden");
    await world.pass(3_600_000);
    expect(world.sockets).toHaveLength(before);
    for (const event of ["shown", "online"] as const) {
      world.page(event);
      await settle(world);
      streams.goLive();
      await world.pass(9_000);
      await settle(world);
      expect(world.live).toBe(1);
      world.socket.end();
    }
    hub.close();
  });

  test("is taken under traffic without losing or repeating an event", async () => {
    let lets = false;
    const sockets = new Set<Socket>();
    const http = createServer((incoming, outgoing) => forward(server, incoming, outgoing));
    http.on("upgrade", (incoming: IncomingMessage, browser: Socket, head: Buffer) => {
      if (!lets) {
        browser.destroy();
        return;
      }
      const onward = connectSocket(server.port, "127.0.0.1", () => {
        const lines = incoming.rawHeaders.map((text, at) => (at % 2 === 0 ? `${text}: ` : `${text}\r\n`)).join("");
        onward.write(`GET ${incoming.url} HTTP/1.1\r\n${lines}\r\n`);
        onward.write(head);
        browser.pipe(onward).pipe(browser);
      });
      for (const [one, other] of [
        [browser, onward],
        [onward, browser],
      ] as const) {
        sockets.add(one);
        one.on("error", () => other.destroy());
        one.on("close", () => other.destroy());
      }
    });
    await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
    closing.push(() => {
      for (const socket of sockets) socket.destroy();
      http.closeAllConnections();
      http.close();
    });
    const address = http.address();
    const environment = makeEnvironment({});
    // The waits before a try are cut short.
    const later: typeof environment.later = (ms, callback) => environment.later(ms >= 5_000 ? 20 : ms, callback);
    const url = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}/`;
    const hub = new HubClient(url, { reconnect: { baseMs: 1, capMs: 10 } }, { ...environment, later });
    closing.push(() => hub.close());
    const plain: string[] = [];
    const paced: string[] = [];
    hub.watch("data/back", (item) => "position" in item && plain.push(item.position), { since: "now" });
    hub.paced.watch(["data/back"], "now", {
      persistent: true,
      take: (items) => paced.push(...items.flatMap((item) => ("position" in item ? [item.position] : []))),
      end: () => {},
    });
    await reach(hub, ({ state, transport }) => state === "live" && transport === "sse");
    const positions: string[] = [];
    const publish = async (): Promise<void> => {
      const version = positions.length;
      positions.push(...(await server.publish({ type: "data:update", data: { dataset: "back", version } })));
    };
    for (let count = 0; count < 20; count += 1) await publish();
    lets = true;
    while (hub.connection.getSnapshot().transport !== "websocket") await publish();
    for (let count = 0; count < 20; count += 1) await publish();
    await vi.waitFor(() => expect(plain.at(-1)).toBe(positions.at(-1)), { timeout: 10_000 });
    await vi.waitFor(() => expect(paced.at(-1)).toBe(positions.at(-1)), { timeout: 10_000 });
    expect(new Set(plain).size).toBe(plain.length);
    expect(new Set(paced).size).toBe(paced.length);
    // Updates of one dataset may supersede each other while a watch catches up; none comes twice or out of order.
    expect(positions.filter((position) => plain.includes(position))).toEqual(plain);
    expect(positions.filter((position) => paced.includes(position))).toEqual(paced);
  }, 60_000);
});

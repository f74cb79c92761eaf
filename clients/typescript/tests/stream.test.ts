/** Where no WebSocket gets through: why, in typed errors, and event streams over HTTP in its place. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { HubClient } from "../src/client.ts";
import { connect, type Hub, type WatchItem } from "../src/index.ts";
import { FakeWorld, json } from "./fakes.ts";
import { startHub, type TestHub } from "./hub.ts";
import { ABOUT, forward, reach, Streams, settle } from "./streams.ts";

let server: TestHub;
const closing: (() => unknown)[] = [];

beforeAll(async () => {
  server = await startHub();
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});
afterAll(() => server.stop());

/** Start an HTTP server that refuses upgrades, and return its URL. */
async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const http: Server = createServer(answer);
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  closing.push(() => {
    http.closeAllConnections();
    http.close();
  });
  const address = http.address();
  return `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}/`;
}

function open(url: string, options: Parameters<typeof connect>[1] = {}): Hub {
  const hub = connect(url, { reconnect: { baseMs: 1, capMs: 10 }, ...options });
  closing.push(() => hub.close());
  return hub;
}

test("a redirect takes no token and no event to another server", async () => {
  const reached: unknown[] = [];
  const other = await serve(({ headers, url }, response) => {
    reached.push([url, headers.authorization]);
    response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(ABOUT));
  });
  const asked: unknown[] = [];
  const url = await serve(({ headers, url }, response) => {
    asked.push(headers.authorization);
    response.writeHead(307, { Location: `${other.replace(/\/$/, "")}${url}` }).end();
  });
  const hub = open(url, { token: "hunter2" });
  await expect(hub.publish("data:update", { secret: 1 })).rejects.toMatchObject({ code: "hub_unreachable" });
  expect(new Set(asked)).toEqual(new Set(["Bearer hunter2"]));
  expect(reached).toEqual([]);
});

describe("a proxy that knows no WebSockets", () => {
  test("leads to a stream, over which watches begin, go on and end", async () => {
    const streams: string[] = [];
    const url = await serve((incoming, outgoing) => {
      if (incoming.url?.startsWith("/v1/stream")) streams.push(incoming.url);
      forward(server, incoming, outgoing);
    });
    const [start = ""] = await server.publish({ type: "data:update", data: { dataset: "s1", version: 1 } });
    const hub = open(url);
    const first: WatchItem[] = [];
    hub.watch("data/s1", (item) => first.push(item), { since: start });
    await reach(hub, ({ state, transport }) => state === "live" && transport === "sse");
    await server.publish({ type: "data:update", data: { dataset: "s1", version: 2 } });
    const versions: unknown[] = [];
    for await (const item of hub.watch("data/s1")) {
      if (item.type === "data:update") versions.push(item.data?.version);
      if (item.type === "channel:live")
        await server.publish({ type: "data:update", data: { dataset: "s1", version: 3 } });
      if (versions.at(-1) === 3) break;
    }
    expect(versions).toEqual([2, 3]);
    expect(first.map(({ type }) => type)).toEqual(["channel:subscribed", "channel:live", "data:update", "data:update"]);
    expect(streams).toHaveLength(2);
    expect(await hub.publish("data:update", { dataset: "s1", version: 4 })).toHaveProperty("position");
  });

  test("shares one stream between watches with and without a pace", async () => {
    let open_ = 0;
    let most = 0;
    const url = await serve((incoming, outgoing) => {
      if (incoming.url?.startsWith("/v1/stream")) {
        open_ += 1;
        most = Math.max(most, open_);
        outgoing.on("close", () => {
          open_ -= 1;
        });
      }
      forward(server, incoming, outgoing);
    });
    const hub = open(url) as HubClient;
    const paced: string[] = [];
    const completed = new Promise<void>((resolve) => {
      hub.paced.watch(["operations"], "snapshot", {
        persistent: true,
        take: (items) => {
          paced.push(...items.map(({ type }) => type));
          if (paced.includes("operation:complete")) resolve();
        },
        end: () => {},
      });
    });
    hub.watch("data", () => {});
    await reach(hub, ({ state, transport }) => state === "live" && transport === "sse");
    await server.publish({ type: "operation:start", data: { operation_id: "s2", name: "n" } });
    await server.publish({ type: "operation:complete", data: { operation_id: "s2" } });
    for await (const item of hub.watch("operations/s2", { since: "first" }))
      if (item.type === "operation:complete") break;
    await completed;
    expect(paced).toContain("channel:live");
    expect(paced.filter((type) => type === "operation:complete")).toHaveLength(1);
    // One may be on its way out while the next is on its way in.
    expect(most).toBeLessThanOrEqual(2);
  });

  test("a path that the hub refuses ends its watch alone", async () => {
    const hub = open(await serve((incoming, outgoing) => forward(server, incoming, outgoing)));
    const good: string[] = [];
    hub.watch("data/s3", (item) => good.push(item.type));
    await expect(hub.watch("nonsense").next()).rejects.toMatchObject({ code: "unknown_channel" });
    await reach(hub, ({ state }) => state === "live");
    await server.publish({ type: "data:update", data: { dataset: "s3" } });
    for await (const item of hub.watch("data/s3")) if (item.type === "data:update") break;
    expect(good).toContain("channel:live");
  });
});

describe("a failed handshake", () => {
  const cases: [string, number, string, string, object][] = [
    ["a web page", 200, "text/html", "<!doctype html><p>Welcome", { code: "not_a_hub", recoverable: false }],
    ["another JSON service", 200, "application/json", '{"name":"other"}', { code: "not_a_hub" }],
    ["a wrong path", 404, "text/plain", "nothing here", { code: "handshake_refused", status: 404, recoverable: false }],
    [
      "a path that is none of the hub's",
      404,
      "application/json",
      `{"code":"not_found","message":"no such route: '/hub/'","recoverable":false,"hint":"GET /openapi.json lists them."}`,
      { code: "not_a_hub", hint: "Correct the path of the URL." },
    ],
    ["a proxy that asks for a login", 401, "text/html", "<p>Log in", { name: "CredentialError", status: 401 }],
    ["a proxy that forbids", 403, "text/html", "<p>No", { code: "handshake_refused", status: 403 }],
    [
      "an origin that is not allowed",
      403,
      "application/json",
      '{"code":"origin_refused","message":"m","recoverable":false,"hint":"Allow the page."}',
      { name: "HubError", code: "origin_refused", hint: "Allow the page." },
    ],
    [
      "a hub of a newer protocol",
      200,
      "application/json",
      '{"name":"tidings","websocket":{"subprotocol":"tidings.v2"}}',
      { name: "NotSupportedError", code: "not_supported" },
    ],
  ];

  test.each(cases)("%s is told apart, as a typed error with a hint", async (_, status, type, body, expected) => {
    const url = await serve((_incoming, outgoing) => outgoing.writeHead(status, { "Content-Type": type }).end(body));
    const hub = open(url);
    const error: unknown = await hub
      .watch("data")
      .next()
      .catch((cause: unknown) => cause);
    expect(error).toMatchObject(expected);
    expect((error as { hint: string }).hint).not.toBe("");
    expect(hub.connection.getSnapshot()).toMatchObject({ state: "closed", reason: { code: "refused", error } });
  });

  test("a server that is not ready is tried again", async () => {
    const url = await serve((_incoming, outgoing) => outgoing.writeHead(503).end("starting"));
    const hub = open(url);
    hub.watch("data", () => {});
    await reach(hub, ({ attempts }) => attempts.length >= 3);
    expect(hub.connection.getSnapshot().state).toBe("connecting");
    await reach(hub, ({ reason }) => reason.error?.code === "handshake_refused");
  });

  test("no answer names all that a page cannot tell apart", async () => {
    const hub = open("http://127.0.0.1:9/");
    hub.watch("data", () => {});
    await reach(hub, ({ reason }) => reason.error !== undefined);
    const { error } = hub.connection.getSnapshot().reason;
    expect(error).toMatchObject({ code: "hub_unreachable", recoverable: true });
    for (const word of ["hub", "TLS", "origin"]) expect(error?.hint).toContain(word);
  });

  test("a certificate that is not trusted is named among what a page cannot tell apart, and tried again", async () => {
    const folder = await mkdtemp(join(tmpdir(), "tidings-tls-"));
    closing.push(() => rm(folder, { recursive: true }));
    const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
    const subject = ["-subj", "/CN=127.0.0.1", "-days", "1", "-keyout", key, "-out", cert];
    execFileSync(
      "openssl",
      ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", ...subject],
      {
        stdio: "ignore",
      },
    );
    const https = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (incoming, outgoing) =>
      forward(server, incoming, outgoing),
    );
    await new Promise<void>((resolve) => https.listen(0, "127.0.0.1", resolve));
    closing.push(() => {
      https.closeAllConnections();
      https.close();
    });
    const address = https.address();
    const hub = open(`https://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}/`);
    hub.watch("data", () => {});
    await reach(hub, ({ attempts }) => attempts.length >= 2);
    const { error } = hub.connection.getSnapshot().reason;
    expect(error).toMatchObject({ name: "HubUnreachableError", code: "hub_unreachable", recoverable: true });
    expect(error?.hint).toContain("TLS certificate");
    await expect(hub.request("v1/whoami")).rejects.toMatchObject({ code: "hub_unreachable" });
  });

  test("an outage of the hub leads to no stream", async () => {
    const world = new FakeWorld();
    const hub = world.connect();
    hub.watch("data", () => {});
    await world.settle();
    world.socket.open();
    world.socket.greet();
    for (let round = 0; round < 10; round += 1) {
      // The hub is back for a request now and then, and away for the WebSocket before and after it.
      world.respond = round % 2 === 0 ? () => json(ABOUT) : () => Promise.reject(new TypeError("failed"));
      world.socket.end(1006);
      for (let wait = 0; world.live === 0 && wait < 200; wait += 1) await world.pass(100);
    }
    expect(world.requests.filter((path) => path.startsWith("/v1/stream"))).toEqual([]);
    hub.close();
  });

  test("a platform without WebSocket uses streams from the start", async () => {
    const hub = open(server.url, { WebSocket: undefined as never, transport: "sse" });
    hub.watch("data", () => {});
    await reach(hub, ({ state, transport }) => state === "live" && transport === "sse");
  });
});

describe("a stream", () => {
  async function start(): Promise<{ world: FakeWorld; hub: HubClient; streams: Streams; items: WatchItem[] }> {
    const world = new FakeWorld();
    const streams = new Streams();
    world.respond = streams.respond;
    const hub = world.connect({ transport: "sse" });
    const items: WatchItem[] = [];
    hub.watch("data", (item) => items.push(item));
    await settle(world);
    streams.goLive();
    await settle(world);
    return { world, hub, streams, items };
  }

  test("is released while the page is hidden, and goes on where it was when it is shown", async () => {
    const { hub, items, streams, world } = await start();
    expect(hub.connection.getSnapshot()).toMatchObject({ state: "live", transport: "sse" });
    streams.open[0]?.push({ type: "data:update", channel: "data", position: "p:3", data: {} });
    await settle(world);
    world.page("hidden");
    await settle(world);
    expect(streams.open[0]?.cancelled()).toBe(true);
    expect(hub.connection.getSnapshot()).toMatchObject({ state: "stale", reason: { code: "hidden" } });
    await world.pass(3_600_000);
    expect(streams.open).toHaveLength(1);
    world.page("shown");
    await settle(world);
    expect(streams.open[1]?.url.searchParams.get("since")).toBe("p:3");
    expect(items.at(-1)).toMatchObject({ position: "p:3" });
    hub.close();
    expect(world.timers.size).toBe(0);
  });

  test.each(["the answer", "its body"])(
    "of which a proxy holds %s back is a fault of its own, until it is passed on",
    async (held) => {
      const world = new FakeWorld();
      const streams = new Streams();
      let holds = true;
      world.respond = (url, init) => {
        const isHeld = holds && held === "the answer" && url.pathname.endsWith("/v1/stream");
        return isHeld ? new Promise<Response>(() => {}) : streams.respond(url, init);
      };
      const hub = world.connect({ transport: "sse" });
      hub.watch("data", () => {});
      await settle(world);
      await world.pass(10_000);
      await settle(world);
      const { reason, state } = hub.connection.getSnapshot();
      expect([state, reason.code, reason.error?.code]).toEqual(["connecting", "lost", "hub_unreachable"]);
      expect(reason.error?.message).toContain("a proxy holds back the stream of events");
      expect(reason.error?.hint).toContain("`/v1/stream`");
      holds = false;
      await world.pass(2_000);
      await settle(world);
      streams.goLive();
      await settle(world);
      expect(hub.connection.getSnapshot()).toMatchObject({ state: "live", transport: "sse" });
      hub.close();
    },
  );

  test("is not opened while the page is hidden, and then when it is shown", async () => {
    const world = new FakeWorld();
    const streams = new Streams();
    world.respond = streams.respond;
    world.shown = false;
    const hub = world.connect({ transport: "sse" });
    hub.watch("data", () => {});
    await settle(world);
    expect(streams.open).toHaveLength(0);
    world.page("shown");
    await settle(world);
    expect(streams.open).toHaveLength(1);
    hub.close();
  });

  test("that is silent for 35 s is replaced; a comment is a sign of life", async () => {
    const { hub, streams, world } = await start();
    await world.pass(30_000);
    streams.open[0]?.comment();
    await settle(world);
    await world.pass(34_000);
    expect(streams.open).toHaveLength(1);
    await world.pass(2_000);
    await settle(world);
    expect(streams.open).toHaveLength(2);
    expect(streams.open[0]?.cancelled()).toBe(true);
    hub.close();
  });

  test("that is opened again after a sleep is stale within 1 s, unless it is there before", async () => {
    const { hub, streams, world } = await start();
    world.page("woken");
    await settle(world);
    expect([streams.open.length, hub.connection.getSnapshot().state]).toEqual([2, "live"]);
    await world.pass(999);
    expect(hub.connection.getSnapshot().state).toBe("live");
    await world.pass(1);
    expect(hub.connection.getSnapshot()).toMatchObject({ state: "stale", reason: { code: "silent" } });
    streams.goLive();
    await settle(world);
    expect(hub.connection.getSnapshot()).toMatchObject({ state: "live" });
    world.page("woken");
    await settle(world);
    streams.goLive();
    await settle(world);
    await world.pass(5_000);
    expect(hub.connection.getSnapshot()).toMatchObject({ state: "live" });
    hub.close();
  });

  test("of a device that says it is offline is stale at once, and tried once more", async () => {
    const { hub, streams, world } = await start();
    world.page("offline");
    expect(hub.connection.getSnapshot()).toMatchObject({ state: "stale", reason: { code: "offline" } });
    await settle(world);
    expect([streams.open.length, streams.open[0]?.cancelled()]).toEqual([2, true]);
    streams.goLive(); // the device was wrong
    await settle(world);
    expect(hub.connection.getSnapshot()).toMatchObject({ state: "live" });
    world.respond = () => Promise.reject(new TypeError("failed"));
    world.page("offline");
    await settle(world);
    expect(hub.connection.getSnapshot()).toMatchObject({ state: "stale", reason: { code: "offline" } });
    world.respond = streams.respond;
    world.page("online");
    await settle(world);
    streams.goLive();
    await settle(world);
    expect(hub.connection.getSnapshot()).toMatchObject({ state: "live" });
    hub.close();
  });

  test("begins a watch from now where it says, and with no event of before", async () => {
    const { hub, items, streams, world } = await start();
    const event = (position: string): object => ({ type: "data:update", channel: "data", position, data: {} });
    streams.open[0]?.push(event("p:1"));
    await settle(world);
    const late: WatchItem[] = [];
    hub.watch("data", (item) => late.push(item), { since: "now" });
    await settle(world);
    expect(streams.open[1]?.url.searchParams.get("since")).toBe("p:1");
    const data = { channels: ["data"], position: "p:2", outcome: "complete" };
    streams.open[1]?.push({ type: "channel:subscribed", data });
    streams.open[1]?.push(event("p:2")); // stored before the watch began
    streams.open[1]?.push({ type: "channel:live", data });
    streams.open[1]?.push(event("p:3"));
    await settle(world);
    const seen = (all: WatchItem[]): string[] => all.map((item) => ("position" in item ? item.position : item.type));
    expect(seen(late)).toEqual(["channel:subscribed", "channel:live", "p:3"]);
    expect(late[0]).toMatchObject({ data: { position: "p:2", outcome: "live" } });
    expect(seen(items).slice(2)).toEqual(["p:1", "p:2", "p:3"]);
    hub.close();
  });

  test("is opened again with another token before the old one expires", async () => {
    const world = new FakeWorld();
    const streams = new Streams();
    const tokens: unknown[] = [];
    world.respond = (url, init) => {
      tokens.push((init.headers as Record<string, string>)["Authorization"]);
      return streams.respond(url, init);
    };
    let count = 0;
    const hub = world.connect({ transport: "sse", token: () => `token-${++count}` });
    hub.watch("data", () => {});
    await settle(world);
    streams.goLive();
    streams.open[0]?.push({ type: "auth:required", data: { methods: [], reason: "expiring", deadline_s: 60 } });
    await settle(world);
    expect(tokens).toEqual(["Bearer token-1", "Bearer token-2"]);
    expect(streams.open.map(({ cancelled }) => cancelled())).toEqual([true, false]);
    expect(hub.connection.getSnapshot().state).toBe("live");
    hub.close();
  });
});

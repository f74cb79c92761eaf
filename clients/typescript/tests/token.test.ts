/** Tokens: suppliers that are late, doubled, broken or refused, signing in and out, and expiry while asleep. */
import { createHmac } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { HubClient } from "../src/client.ts";
import { Credentials } from "../src/credentials.ts";
import { connect, type WatchItem } from "../src/index.ts";
import { FakeWorld, json } from "./fakes.ts";
import { startHub } from "./hub.ts";

function state(hub: HubClient): string {
  const { reason, state } = hub.connection.getSnapshot();
  return `${state}: ${reason.code}`;
}

const SUCCESS = { subject: "ann", grants: ["read data"], expires_at: "2026-01-01T01:00:00Z" };
const EXPIRING = { methods: ["token"], reason: "expiring", deadline_s: 60 };

/** Let the newest socket open, and ask for a token. */
async function ask(world: FakeWorld): Promise<void> {
  for (let round = 0; world.socket.gone && round < 500; round += 1) await world.pass(100);
  world.socket.open();
  world.socket.greet("required");
  await world.settle();
}

/** Tokens that were sent on the newest socket. */
function sent(world: FakeWorld): unknown[] {
  return world.socket.sentOf("auth:token").map(({ data }) => data["token"]);
}

async function succeed(world: FakeWorld, data: object = SUCCESS): Promise<void> {
  world.socket.receive({ type: "auth:success", reply_to: "token", data });
  await world.settle();
}

async function fail(world: FakeWorld, code = "token_expired"): Promise<void> {
  const data = { code, message: "the token has expired", recoverable: false, hint: "Get a new token." };
  world.socket.receive({ type: "auth:failed", data });
  world.socket.end(4001);
  await world.settle();
}

async function start(token: Parameters<typeof connect>[1] = {}): Promise<{ world: FakeWorld; hub: HubClient }> {
  const world = new FakeWorld();
  const hub = world.connect(token);
  hub.watch("data", () => {});
  await world.settle();
  return { world, hub };
}

describe("signing in", () => {
  test("a hub that asks for no token gets none", async () => {
    let asked = 0;
    const { hub, world } = await start({ token: () => `token ${++asked}` });
    world.socket.open();
    world.socket.greet();
    await world.settle();
    expect([asked, sent(world)]).toEqual([0, []]);
    hub.close();
  });

  test("the token is sent when the hub asks, before anything else", async () => {
    const { hub, world } = await start({ token: "secret" });
    await ask(world);
    expect(world.socket.sent.map(({ type }) => type)).toEqual(["auth:token"]);
    await succeed(world);
    expect(world.socket.sent.map(({ type }) => type)).toEqual(["auth:token", "channel:subscribe"]);
    expect(hub.connection.getSnapshot()).toMatchObject({ subject: "ann", grants: ["read data"] });
    hub.close();
  });

  test("without a token the client is closed until it signs in, and its watches go on then", async () => {
    const { hub, world } = await start();
    const iterator = hub.watch("system").next();
    await world.settle();
    await ask(world);
    expect(state(hub)).toBe("closed: refused");
    expect(hub.connection.getSnapshot().reason.error).toMatchObject({ code: "unauthenticated" });
    await expect(iterator).rejects.toMatchObject({ name: "CredentialError", code: "unauthenticated" });
    hub.signIn("secret");
    await world.settle();
    await ask(world);
    expect(sent(world)).toEqual(["secret"]);
    await succeed(world);
    expect(world.socket.sentOf("channel:subscribe")[0]?.data["channels"]).toEqual(["data"]);
    hub.close();
  });

  test("a supplier that returns null closes the client as signed out; watches wait for the next sign-in", async () => {
    let token: string | null = "first";
    const { hub, world } = await start({ token: () => token });
    const iterator = hub.watch("system").next();
    let settled = false;
    iterator.then(
      () => {
        settled = true;
      },
      () => {
        settled = true;
      },
    );
    await ask(world);
    await succeed(world);
    token = null;
    world.socket.end(1006);
    await world.settle();
    await ask(world);
    expect(state(hub)).toBe("closed: signed-out");
    expect(hub.connection.getSnapshot().subject).toBeUndefined();
    expect(world.live).toBe(0);
    await world.pass(3_600_000);
    expect([world.live, settled]).toEqual([0, false]);
    hub.signIn("second");
    await world.settle();
    await ask(world);
    expect(sent(world)).toEqual(["second"]);
    hub.close();
    await expect(iterator).rejects.toMatchObject({ code: "client_closed" });
  });

  test("signing out and in again on one client, a hundred times, leaves one socket", async () => {
    const { hub, world } = await start({ token: "token-0" });
    for (let round = 1; round <= 100; round += 1) {
      await ask(world);
      await succeed(world, { ...SUCCESS, subject: `subject-${round}` });
      expect(hub.connection.getSnapshot().subject).toBe(`subject-${round}`);
      hub.signOut();
      expect([world.live, state(hub)]).toEqual([0, "closed: signed-out"]);
      await expect(hub.request("v1/whoami")).rejects.toMatchObject({ code: "signed_out" });
      hub.signIn(`token-${round}`);
      await world.settle();
    }
    expect([world.live, world.timers.size, world.listeners.size]).toEqual([1, 1, 1]);
    hub.close();
  });

  test("another subject needs another connection", async () => {
    const { hub, world } = await start({ token: "ann" });
    await ask(world);
    await succeed(world);
    const first = world.socket;
    hub.signIn("bob");
    await world.settle();
    expect(sent(world)).toEqual(["ann", "bob"]);
    const data = { code: "forbidden", message: "another subject", recoverable: false };
    first.receive({ type: "connection:error", reply_to: "token", data });
    await world.settle();
    expect([first.gone, world.live]).toEqual([true, 1]);
    await ask(world);
    expect(sent(world)).toEqual(["bob"]);
    hub.close();
  });

  test("a token that cannot be sent is an error at once, which does not show it", () => {
    const world = new FakeWorld();
    expect(() => world.connect({ token: "Bearer secret" })).toThrow("invalid token");
    expect(() => world.connect({ token: "" })).toThrow("invalid token");
    try {
      world.connect({ token: "with a blank" });
    } catch (error) {
      expect(String(error)).not.toContain("with a blank");
    }
  });
});

describe("refreshing", () => {
  test("a token that expires is replaced in place", async () => {
    let count = 0;
    const { hub, world } = await start({ token: () => `token-${++count}` });
    await ask(world);
    await succeed(world);
    world.socket.goLive();
    world.socket.receive({ type: "auth:required", data: EXPIRING });
    await world.settle();
    expect(sent(world)).toEqual(["token-1", "token-2"]);
    await succeed(world);
    expect([world.sockets.length, state(hub)]).toEqual([1, "live: connected"]);
    hub.close();
  });

  test("a doubled request asks the supplier once", async () => {
    let count = 0;
    let release = (): void => {};
    const { hub, world } = await start({
      token: () => {
        count += 1;
        return new Promise((resolve) => {
          release = () => resolve(`token-${count}`);
        });
      },
    });
    await ask(world);
    release();
    await world.settle();
    await succeed(world);
    for (let round = 0; round < 5; round += 1) world.socket.receive({ type: "auth:required", data: EXPIRING });
    await world.settle();
    expect(count).toBe(2);
    release();
    await world.settle();
    expect(sent(world)).toEqual(["token-1", "token-2"]);
    hub.close();
  });

  test("a supplier that is late is asked again until it has another token", async () => {
    let token = "old";
    let asked = 0;
    const supplier = (): string => {
      asked += 1;
      return token;
    };
    const { hub, world } = await start({ token: supplier });
    await ask(world);
    await succeed(world);
    world.socket.goLive();
    world.socket.receive({ type: "auth:required", data: EXPIRING });
    for (let second = 0; second < 20; second += 1) {
      await world.pass(1_000);
      world.socket.event(`p:${second}`);
    }
    expect(sent(world)).toEqual(["old"]);
    expect(asked).toBeLessThan(15);
    token = "new";
    await world.pass(16_000);
    expect(world.sockets[0]?.sentOf("auth:token").map(({ data }) => data["token"])).toContain("new");
    hub.close();
  });

  test("a supplier that throws is asked again after growing delays, and its text is not shown", async () => {
    let asked = 0;
    const { hub, world } = await start({
      token: () => {
        asked += 1;
        throw new Error("secret-token-in-a-message");
      },
    });
    const connections: number[] = [];
    for (let round = 0; round < 10; round += 1) {
      await ask(world);
      connections.push(world.time);
      const { error } = hub.connection.getSnapshot().reason;
      expect(error).toMatchObject({ code: "token_unavailable" });
      expect(`${error} ${error?.hint} ${error?.cause}`).not.toContain("secret");
      await world.pass(100);
    }
    expect(asked).toBe(10);
    const [first = 0, last = 0] = [connections[0], connections.at(-1)];
    expect(last - first).toBeGreaterThan(20_000);
    hub.close();
  });

  test("a supplier that never settles is reported after 8 s, and called again", async () => {
    let asked = 0;
    const { hub, world } = await start({ token: () => (++asked < 4 ? new Promise(() => {}) : "late-token") });
    world.respond = () => json({});
    for (let round = 1; round < 4; round += 1) {
      await ask(world);
      await world.pass(7_999);
      expect([asked, world.socket.gone]).toEqual([round, false]);
      await world.pass(1);
      expect(world.socket.gone).toBe(true);
      const { error } = hub.connection.getSnapshot().reason;
      expect(error).toMatchObject({ name: "TokenUnavailableError", code: "token_unavailable", recoverable: true });
      expect(error?.message).toContain("has not answered in time");
    }
    await ask(world);
    expect(sent(world)).toEqual(["late-token"]);
    await succeed(world);
    expect(hub.connection.getSnapshot()).toMatchObject({ subject: "ann" });
    hub.close();
  });

  test("a request waits for a supplier that never settles no longer than the connection does", async () => {
    const { hub, world } = await start({ token: () => new Promise(() => {}) });
    const request = hub.request("v1/whoami").catch((error: unknown) => error);
    await world.pass(8_000);
    expect(await request).toMatchObject({ code: "token_unavailable" });
    hub.close();
    expect(world.timers.size).toBe(0);
  });

  test("a supplier whose tokens are forever refused is given up, and retryNow begins again", async () => {
    let asked = 0;
    const { hub, world } = await start({ token: () => `refused-${++asked}` });
    for (let round = 0; round < 6; round += 1) {
      await ask(world);
      await fail(world, "invalid_token");
    }
    expect(state(hub)).toBe("closed: refused");
    expect(hub.connection.getSnapshot().reason.error).toMatchObject({
      code: "invalid_token",
      hint: "Get a new token.",
    });
    await world.pass(3_600_000);
    expect([asked, world.live]).toEqual([6, 0]);
    hub.retryNow();
    await world.settle();
    expect(world.live).toBe(1);
    hub.close();
  });

  test("a token that the hub has refused is not sent again", async () => {
    const { hub, world } = await start({ token: () => "the-same" });
    await ask(world);
    await fail(world);
    const first = world.socket;
    for (let round = 0; round < 5; round += 1) await ask(world);
    expect(first.sentOf("auth:token")).toHaveLength(1);
    expect(world.sockets.flatMap((socket) => socket.sentOf("auth:token"))).toHaveLength(1);
    expect(state(hub)).toBe("closed: refused");
    hub.close();
  });

  test("a fixed token that is refused closes the client with the hub's reason", async () => {
    const { hub, world } = await start({ token: "wrong" });
    const iterator = hub.watch("data").next();
    await world.settle();
    await ask(world);
    await fail(world, "unknown_api_key");
    expect(state(hub)).toBe("closed: refused");
    await expect(iterator).rejects.toMatchObject({ name: "CredentialError", code: "unknown_api_key" });
    await expect(hub.watch("data").next()).rejects.toMatchObject({ code: "unknown_api_key" });
    hub.close();
  });

  test("a token that expired while the device slept is replaced after waking up", async () => {
    let count = 0;
    const { hub, world } = await start({ token: () => `token-${++count}` });
    await ask(world);
    await succeed(world);
    world.socket.goLive("p:5");
    world.sleep(8 * 3_600_000);
    world.page("shown");
    await fail(world); // queued since long: the hub closed the connection at the expiry
    expect(state(hub)).toBe("stale: lost");
    await ask(world);
    expect(sent(world)).toEqual(["token-2"]);
    await succeed(world);
    expect(world.socket.sentOf("channel:subscribe")[0]?.data["since"]).toBe("p:5");
    world.socket.goLive("p:5", "complete");
    expect(state(hub)).toBe("live: connected");
    hub.close();
  });

  test("a token that the hub cannot verify now is sent again", async () => {
    let count = 0;
    const { hub, world } = await start({ token: () => (count++ === 0 ? "first" : "second") });
    await ask(world);
    await succeed(world);
    world.socket.receive({ type: "auth:required", data: EXPIRING });
    await world.settle();
    const data = { code: "authentication_unavailable", message: "no answer", recoverable: true };
    world.socket.receive({ type: "auth:failed", reply_to: "token", data });
    await world.pass(1_000);
    expect(sent(world)).toEqual(["first", "second", "second"]);
    expect(world.sockets).toHaveLength(1);
    hub.close();
  });

  test("requests renew a token once, together, when the hub refuses it", async () => {
    let count = 0;
    const credentials = new Credentials(async () => `token-${++count}`, new FakeWorld());
    expect(await Promise.all([credentials.get(), credentials.get(), credentials.get()])).toEqual(
      Array(3).fill("token-1"),
    );
    expect(await Promise.all([credentials.get("token-1"), credentials.get("token-1")])).toEqual(["token-2", "token-2"]);
    expect(await credentials.get("token-1")).toBe("token-2");
    const world = new FakeWorld();
    const headers: unknown[] = [];
    world.respond = (_, init) => {
      const { Authorization } = init.headers as Record<string, string>;
      headers.push(Authorization);
      const refusal = { code: "token_expired", message: "expired", recoverable: false };
      return Authorization === "Bearer a-1" ? json(refusal, 401) : json({ ok: true });
    };
    let made = 0;
    const hub = world.connect({ token: () => `a-${++made}` });
    expect(await Promise.all([hub.request("v1/a"), hub.request("v1/b")])).toEqual([{ ok: true }, { ok: true }]);
    expect(headers).toEqual(["Bearer a-1", "Bearer a-1", "Bearer a-2", "Bearer a-2"]);
  });
});

/** Return a token as an identity provider issues it. */
function makeToken(claims: object): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`;
}

const SECRET = "0123456789abcdef0123456789abcdef";

test("against a real hub: refused, signed in, refreshed in place, and a path without a grant", async () => {
  const { mkdtemp, rm, writeFile } = await import("node:fs/promises");
  const folder = await mkdtemp("/tmp/tidings-token-");
  await writeFile(`${folder}/secret`, SECRET, { mode: 0o600 });
  const server = await startHub({
    args: [
      "--auth",
      "jwt",
      "--jwt-secret-file",
      `${folder}/secret`,
      "--jwt-leeway",
      "1s",
      "--grant-template",
      "read data",
    ],
  });
  let made = 0;
  const token = (): string => makeToken({ sub: "ann", exp: Math.floor(Date.now() / 1000) + 4, jti: String(++made) });
  const hub = connect(server.url, { token: "not.a.token" });
  try {
    await expect(hub.watch("data").next()).rejects.toMatchObject({ name: "CredentialError" });
    await expect(hub.request("v1/snapshot")).rejects.toMatchObject({ name: "CredentialError", status: 401 });
    hub.signIn(token);
    const items: WatchItem[] = [];
    const live = new Promise<void>((resolve) => {
      hub.watch("data", (item) => {
        items.push(item);
        if (item.type === "channel:live") resolve();
      });
    });
    await live;
    expect(hub.connection.getSnapshot()).toMatchObject({ state: "live", subject: "ann" });
    await expect(hub.watch("operations").next()).rejects.toMatchObject({ name: "ForbiddenError" });
    const { attempts, expiresAt: expiry } = hub.connection.getSnapshot();
    await new Promise<void>((resolve) => {
      const stop = hub.connection.subscribe(() => {
        if (hub.connection.getSnapshot().expiresAt === expiry) return;
        stop();
        resolve();
      });
    });
    expect(hub.connection.getSnapshot()).toMatchObject({ state: "live", attempts });
    expect(made).toBeGreaterThan(1);
    expect(items.map(({ type }) => type)).toEqual(["channel:subscribed", "channel:live"]);
    hub.signOut();
    await expect(hub.request("v1/snapshot")).rejects.toMatchObject({ code: "signed_out" });
  } finally {
    hub.close();
    await server.stop();
    await rm(folder, { recursive: true });
  }
}, 30_000);

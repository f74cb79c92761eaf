/** Requests over HTTP: publishing in order and once, cancelling, and typed errors. */
import { expect, test, vi } from "vitest";
import { HubClient } from "../src/client.ts";
import { resolveHubUrl } from "../src/url.ts";
import { FakeWorld, json } from "./fakes.ts";

interface Post {
  readonly path: string;
  readonly events: { type: string; data: unknown; event_id: string }[];
}

/** A world whose hub stores what is posted; the first `lost` answers do not arrive. */
function storing(lost = 0): { world: FakeWorld; posts: Post[] } {
  const world = new FakeWorld();
  const posts: Post[] = [];
  let left = lost;
  world.respond = (url, init) => {
    const events = JSON.parse(String(init.body)) as Post["events"];
    posts.push({ path: url.pathname, events });
    if (left-- > 0) throw new TypeError("the network failed");
    return json({ results: events.map(({ event_id }) => ({ position: `at ${event_id}` })) });
  };
  return { world, posts };
}

test("events of one moment share a post, in their order, and those of later follow in the next", async () => {
  const { posts, world } = storing();
  const hub = world.connect();
  const results = await Promise.all(
    Array.from({ length: 2_500 }, (_, number) =>
      hub.publish("data:update", { number }, { eventId: `event-id-${number}-long-enough` }),
    ),
  );
  const numbers = posts.flatMap(({ events }) => events.map(({ data }) => (data as { number: number }).number));
  expect(numbers).toEqual(Array.from({ length: 2_500 }, (_, number) => number));
  expect(posts.every(({ events }) => events.length <= 1_000)).toBe(true);
  expect(posts).toHaveLength(3);
  expect(results[7]).toEqual({ eventId: "event-id-7-long-enough", position: "at event-id-7-long-enough" });
});

test("an event whose answer was lost is posted again with the same id", async () => {
  const { posts, world } = storing(1);
  const { eventId } = await world.connect().publish("data:update", {});
  expect(posts.map(({ events }) => events.map(({ event_id }) => event_id))).toEqual([[eventId], [eventId]]);
  expect(eventId).toMatch(/^[0-9a-f]{32}$/);
});

test("an event that never arrives is an error, and later ones are tried", async () => {
  const { posts, world } = storing(2);
  const hub = world.connect();
  await expect(hub.publish("data:update", {})).rejects.toMatchObject({ code: "hub_unreachable", recoverable: true });
  await expect(hub.publish("data:update", {})).resolves.toHaveProperty("position");
  expect(posts).toHaveLength(3);
});

test("the refusal of one event does not refuse the others", async () => {
  const world = new FakeWorld();
  const error = { code: "invalid_payload", message: "$.data: no", recoverable: false, hint: "Correct it." };
  world.respond = () => json({ results: [{ position: "p:1" }, { error }, { position: "p:2" }] });
  const hub = world.connect();
  const settled = await Promise.allSettled([1, 2, 3].map((number) => hub.publish("data:update", { number })));
  expect(settled.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  expect(settled[1]).toMatchObject({ reason: { name: "HubError", code: "invalid_payload", hint: "Correct it." } });
});

test("an event whose signal is aborted before its post is not sent", async () => {
  const { posts, world } = storing();
  const hub = world.connect();
  const controller = new AbortController();
  const kept = hub.publish("data:update", { number: 1 });
  const dropped = hub.publish("data:update", { number: 2 }, { signal: controller.signal });
  controller.abort();
  await expect(dropped).rejects.toMatchObject({ name: "AbortError" });
  await kept;
  expect(posts.flatMap(({ events }) => events)).toHaveLength(1);
});

test("an event whose post hangs ends with its signal, and holds up no other", async () => {
  const { posts, world } = storing();
  const store = world.respond;
  let answer = (): void => {};
  world.respond = (url, init) =>
    new Promise((resolve) => {
      answer = () => resolve(store(url, init));
    });
  const hub = world.connect();
  const controller = new AbortController();
  const removals = vi.spyOn(controller.signal, "removeEventListener");
  const given = hub.publish("data:update", { number: 1 }, { signal: controller.signal });
  const patient = hub.publish("data:update", { number: 2 });
  await world.settle();
  const later = hub.publish("data:update", { number: 3 }, { signal: controller.signal });
  await world.settle();
  controller.abort(new Error("enough"));
  await expect(given).rejects.toThrow("enough");
  await expect(later).rejects.toThrow("enough");
  answer();
  await expect(patient).resolves.toHaveProperty("position");
  expect(posts.flatMap(({ events }) => events)).toHaveLength(2);
  await world.settle();
  expect(removals).toHaveBeenCalledTimes(2);
});

test.each([null, {}, [], "ok", { results: null }, { outcome: null, status: "ok" }])(
  "an answer of another server with JSON is not taken for a hub's: %j",
  async (content) => {
    const world = new FakeWorld();
    world.respond = () => json(content);
    const hub = world.connect();
    const settled = await Promise.allSettled([hub.publish("data:update", {}), hub.cancel("a")]);
    for (const { reason } of settled as PromiseRejectedResult[]) {
      expect(reason).toMatchObject({ name: "NotAHubError", code: "not_a_hub", recoverable: false });
    }
  },
);

test.each([
  ["a/b ?#&+", "a%2Fb+%3F%23%26%2B"],
  [".", "."],
  ["..", ".."],
])("a cancel names its operation, whatever its id, and returns the outcome: %j", async (id, encoded) => {
  const world = new FakeWorld();
  const sent: unknown[] = [];
  world.respond = (url, init) => {
    sent.push(url.pathname + url.search, JSON.parse(String(init.body)));
    return json({ operation_id: id, attempt: 1, outcome: "refused", state: "running", reason: "busy" });
  };
  const outcome = await world.connect().cancel(id, { reason: "late", timeoutS: 0 });
  expect(outcome).toMatchObject({ outcome: "refused", reason: "busy" });
  expect(sent).toEqual([`/v1/operation/cancel?operation_id=${encoded}`, { reason: "late", timeout_s: 0 }]);
});

test("a rate limit says how long to wait, and a missing grant what is allowed", async () => {
  const world = new FakeWorld();
  const hub = world.connect();
  const limited = { code: "rate_limited", message: "m", recoverable: true, hint: "h", retry_after_ms: 1_500 };
  world.respond = () => json(limited, 429);
  await expect(hub.request("v1/events")).rejects.toMatchObject({
    code: "rate_limited",
    retryAfterMs: 1_500,
    status: 429,
  });
  world.respond = () => json({ code: "forbidden", message: "m", recoverable: false, allowed: ["read data"] }, 403);
  await expect(hub.request("v1/events")).rejects.toMatchObject({ name: "ForbiddenError", allowed: ["read data"] });
});

test.each([
  "https://evil.example/v1/operations",
  "HTTPS:evil.example",
  "\\\\evil.example/v1/operations",
  "/\\evil.example",
  "../v1/operations",
  "v1/%2E%2e/../operations",
  "javascript:alert(1)",
])("a path that leads away from the hub gets no token: %s", async (path) => {
  const world = new FakeWorld();
  world.respond = () => json({});
  const hub = new HubClient("http://hub.example/prefix/", { token: "secret" }, world);
  await expect(hub.request(path)).rejects.toMatchObject({ name: "ConfigError", code: "invalid_config" });
  expect(world.requests).toEqual([]);
});

test("a query holds each value once, and a request that is aborted throws the reason", async () => {
  const world = new FakeWorld();
  world.respond = () => json({});
  const hub = world.connect();
  await hub.request("/v1/operations", {
    query: { state: ["running", "queued"], limit: 5, after: undefined, q: "a&b" },
  });
  expect(world.requests).toEqual(["/v1/operations?state=running&state=queued&limit=5&q=a%26b"]);
  const controller = new AbortController();
  world.respond = (_, init) =>
    new Promise((_resolve, reject) => {
      init.signal?.addEventListener("abort", () => reject(init.signal?.reason));
    });
  const request = hub.request("v1/slow", { signal: controller.signal });
  await world.settle();
  controller.abort(new Error("enough"));
  await expect(request).rejects.toThrow("enough");
});

test.each([
  ["ws://hub:8765/ws", undefined, "ws://hub:8765/ws", "http://hub:8765/"],
  ["wss://hub/prefix/ws", undefined, "wss://hub/prefix/ws", "https://hub/prefix/"],
  ["wss://hub/socket", undefined, "wss://hub/socket", "https://hub/"],
  ["http://hub:8765", undefined, "ws://hub:8765/ws", "http://hub:8765/"],
  ["https://hub/prefix", undefined, "wss://hub/prefix/ws", "https://hub/prefix/"],
  ["https://hub/prefix/", undefined, "wss://hub/prefix/ws", "https://hub/prefix/"],
  ["https://hub/prefix/ws", undefined, "wss://hub/prefix/ws", "https://hub/prefix/"],
  ["./", "https://hub/prefix/operations/", "wss://hub/prefix/operations/ws", "https://hub/prefix/operations/"],
  ["/tidings/", "https://hub/page.html#top", "wss://hub/tidings/ws", "https://hub/tidings/"],
])("the URL %s of a page %s names the hub's addresses", (url, base, websocket, http) => {
  expect(resolveHubUrl(url, base)).toEqual({ websocket, http });
});

test.each([
  "",
  "nonsense",
  "ftp://hub/",
  "file:///hub",
  "ws://",
  "https://ann:secret@hub/",
  "wss://hub/ws?token=secret",
])("the URL '%s' is refused, and no secret is shown", (url) => {
  let message = "";
  try {
    resolveHubUrl(url);
  } catch (error) {
    message = String(error);
  }
  expect(message).toContain("invalid hub URL");
  expect(message).not.toContain("secret");
});

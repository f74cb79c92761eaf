/** A surrounding of the client in which nothing happens by itself: clock, timers, page, sockets and requests. */
import { HubClient } from "../src/client.ts";
import type { Environment, PageEvent } from "../src/environment.ts";
import type { WatchItem } from "../src/items.ts";
import type { ConnectOptions, WebSocketConstructor } from "../src/options.ts";

/** The parts of the client that it loads when it needs them; they are here before. */
const modules = import("../src/requests.ts");

/** A socket whose other side is the test. */
export class FakeSocket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  readyState = 0;
  readonly sent: { type: string; id: string; data: Record<string, unknown> }[] = [];
  readonly url: string;

  constructor(url: string) {
    this.url = url;
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }

  close(): void {
    this.readyState = 3;
  }

  /** Whether the client has given the socket up, or was told of its end. */
  get gone(): boolean {
    return this.readyState === 3;
  }

  /** Messages of one type that the client has sent. */
  sentOf(type: string): { id: string; data: Record<string, unknown> }[] {
    return this.sent.filter((message) => message.type === type);
  }

  open(): void {
    if (this.readyState !== 0) return;
    this.readyState = 1;
    this.onopen?.();
  }

  receive(message: Record<string, unknown>): void {
    const base = { timestamp: "2026-01-01T00:00:00Z", trace_id: "t", data: null };
    this.onmessage?.({ data: JSON.stringify({ ...base, ...message }) });
  }

  end(code = 1006, reason = ""): void {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  greet(auth = "none", position = "p:0"): void {
    this.receive({
      type: "connection:established",
      data: {
        connection_id: "c",
        contract: { version: "2025-07-30", hash: "h" },
        position,
        now: "2026-01-01T00:00:00Z",
        heartbeat_s: 25,
        channels: ["data"],
        auth,
      },
    });
  }

  /** Answer the newest subscribe command as a hub does that has nothing to send. */
  goLive(position = "p:0", outcome = "snapshot"): void {
    const command = this.sentOf("channel:subscribe").at(-1);
    const channels = command?.data["channels"];
    const data = { channels, position, outcome };
    this.receive({ type: "channel:subscribed", reply_to: command?.id, data });
    this.receive({ type: "channel:live", data: { channels, position } });
  }

  event(position: string, dataset = "prices"): void {
    this.receive({ type: "data:update", channel: "data", position, data: { dataset } });
  }
}

export class FakeWorld implements Environment {
  time = 1_000_000;
  /** What the device's clock shows beyond `time`: it grows while the device sleeps. */
  asleep = 0;
  shown = true;
  readonly sockets: FakeSocket[] = [];
  readonly timers = new Set<{ at: number; callback: () => void }>();
  readonly listeners = new Set<(event: PageEvent) => void>();
  readonly requests: string[] = [];
  /** Answers a request: with a status and a body, or by throwing. */
  respond: (url: URL, init: RequestInit) => Response | Promise<Response> = () =>
    Promise.reject(new TypeError("failed"));
  #soon: (() => void)[] = [];
  #random = 1;

  readonly WebSocket: WebSocketConstructor;
  readonly fetch: typeof globalThis.fetch;

  constructor() {
    const { sockets } = this;
    class Socket extends FakeSocket {
      constructor(url: string) {
        super(url);
        sockets.push(this);
      }
    }
    this.WebSocket = Socket as unknown as WebSocketConstructor;
    this.fetch = async (input, init = {}) => {
      const url = new URL(String(input));
      this.requests.push(url.pathname + url.search);
      return this.respond(url, init);
    };
  }

  now = (): number => this.time;
  wall = (): number => 1_700_000_000_000 + this.time + this.asleep;
  /** Pseudo-random, and the same in each run. */
  random = (): number => {
    this.#random = (this.#random * 48_271) % 2_147_483_647;
    return this.#random / 2_147_483_647;
  };

  later(ms: number, callback: () => void): () => void {
    const timer = { at: this.time + Math.max(0, ms), callback };
    this.timers.add(timer);
    return () => this.timers.delete(timer);
  }

  soon(callback: () => void): void {
    this.#soon.push(callback);
  }

  visible(): boolean {
    return this.shown;
  }

  watchPage(listener: (event: PageEvent) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  page(event: PageEvent): void {
    if (event === "shown" || event === "hidden") this.shown = event === "shown";
    for (const listener of [...this.listeners]) listener(event);
  }

  /** Run what is due soon, and let promises settle. */
  async settle(): Promise<void> {
    for (let round = 0; round < 20; round += 1) {
      for (const callback of this.#soon.splice(0)) callback();
      await Promise.resolve();
    }
    await modules;
    for (let round = 0; round < 20; round += 1) {
      for (const callback of this.#soon.splice(0)) callback();
      await Promise.resolve();
    }
  }

  /** Let time pass, timers included. */
  async pass(ms: number): Promise<void> {
    const end = this.time + ms;
    await this.settle();
    for (;;) {
      const [next] = [...this.timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.timers.delete(next);
      this.time = Math.max(this.time, next.at);
      next.callback();
      await this.settle();
    }
    this.time = end;
  }

  /** The device sleeps: no timer runs, and its monotonic clock stands still. */
  sleep(ms: number): void {
    this.asleep += ms;
  }

  /** The newest socket. */
  get socket(): FakeSocket {
    const socket = this.sockets.at(-1);
    if (socket === undefined) throw new Error("there is no socket");
    return socket;
  }

  /** Sockets that are open or connecting. */
  get live(): number {
    return this.sockets.filter(({ gone }) => !gone).length;
  }

  connect(options: ConnectOptions = {}): HubClient {
    return new HubClient("ws://hub.example/ws", options, this);
  }
}

/** Return the answer to a request. */
export function json(body: unknown, status = 200): Response {
  return new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json" } });
}

/** A client that watches `data` and is live. */
export async function live(world: FakeWorld, hub: HubClient = world.connect()): Promise<WatchItem[]> {
  const items: WatchItem[] = [];
  hub.watch("data", (item) => items.push(item));
  await world.settle();
  world.socket.open();
  world.socket.greet();
  await world.settle();
  world.socket.goLive();
  return items;
}

/** The state of a client and its reason, in a few words. */
export function state(hub: HubClient): string {
  const { reason, state } = hub.connection.getSnapshot();
  return `${state}: ${reason.code}`;
}

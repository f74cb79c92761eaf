/** Event streams whose other side is the test, and a proxy that knows no WebSockets. */
import { type IncomingMessage, request, type ServerResponse } from "node:http";
import type { Hub } from "../src/index.ts";
import { type FakeWorld, json } from "./fakes.ts";

/** What a hub says about itself at its root. */
export const ABOUT = { name: "tidings", websocket: { subprotocol: "tidings.v1" } };

/** Forward a request to the hub, as a proxy that knows no WebSockets. */
export function forward(hub: { port: number }, incoming: IncomingMessage, outgoing: ServerResponse): void {
  const { connection: _connection, upgrade: _upgrade, ...headers } = incoming.headers;
  const { method, url } = incoming;
  const onward = request({ port: hub.port, host: "127.0.0.1", method, path: url, headers }, (answer) => {
    outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(outgoing);
  });
  onward.on("error", () => outgoing.destroy());
  outgoing.on("close", () => onward.destroy());
  incoming.pipe(onward);
}

/** Resolve when the state of the connection fits. */
export function reach(hub: Hub, fits: (state: ReturnType<Hub["connection"]["getSnapshot"]>) => boolean): Promise<void> {
  return new Promise((resolve) => {
    let stop = (): void => {};
    const look = (): void => {
      if (!fits(hub.connection.getSnapshot())) return;
      stop();
      resolve();
    };
    stop = hub.connection.subscribe(look);
    look();
  });
}

/** Answers requests for streams, each of which the test feeds. */
export class Streams {
  readonly open: { url: URL; push: (message: object) => void; comment: () => void; cancelled: () => boolean }[] = [];

  respond = (url: URL, init: RequestInit): Response => {
    if (url.pathname === "/") return json(ABOUT);
    if (!url.pathname.endsWith("/v1/stream")) return json({ events: [], next: "p:9", position: "p:9" });
    let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
    const body = new ReadableStream<Uint8Array>({
      start(made) {
        controller = made;
      },
    });
    const write = (text: string): void => controller?.enqueue(new TextEncoder().encode(text));
    const push = (message: object): void =>
      write(`data: ${JSON.stringify({ timestamp: "", trace_id: "", ...message })}\n\n`);
    this.open.push({ url, push, comment: () => write(": alive\n\n"), cancelled: () => init.signal?.aborted ?? false });
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
  };

  goLive(position = "p:0"): void {
    const data = { channels: ["data"], position, outcome: "snapshot" };
    this.open.at(-1)?.push({ type: "channel:subscribed", data });
    this.open.at(-1)?.push({ type: "channel:live", data });
  }
}

/** Let the world settle, streams included, which take turns of the event loop. */
export async function settle(world: FakeWorld): Promise<void> {
  for (let round = 0; round < 5; round += 1) {
    await world.settle();
    await new Promise(setImmediate);
  }
}

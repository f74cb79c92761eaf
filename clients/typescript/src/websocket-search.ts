/** Finds out, while events come as a stream over HTTP, whether a WebSocket gets through by now. */
import type { Environment } from "./environment.ts";
import type { Transport } from "./link.ts";
import { parseMessage } from "./messages.ts";
import { openWebSocket } from "./websocket.ts";

/** First and longest time between two tries, in milliseconds: each failure is a line on the console of the page. */
const TRY_MS = [30_000, 600_000] as const;
/** Shortest time between two tries, in milliseconds, where a new stream suggests that the network has changed. */
const SPACING_MS = 10_000;
/** Time, in milliseconds, in which a WebSocket must open and the hub must greet. */
const OPEN_MS = 10_000;

export class WebSocketSearch {
  readonly #environment: Environment;
  #triedAt: number;
  #delayMs: number = TRY_MS[0];
  #cancelTimer = (): void => {};
  #socket: Transport | undefined;

  constructor(environment: Environment) {
    this.#environment = environment;
    this.#triedAt = environment.now(); // none got through before the first stream
  }

  /**
   * Try in growing intervals, the first time soon: a page that is shown, a device that is online again, and every
   * reconnect open a new stream.
   *
   * @param found - Called when the hub has greeted on a WebSocket, which is closed then.
   */
  start(url: string, found: () => void): void {
    this.stop();
    this.#later(this.#triedAt + SPACING_MS - this.#environment.now(), () => this.#try(url, found));
  }

  /** Try no more. */
  stop(): void {
    this.#cancelTimer();
    this.#socket?.close();
    this.#socket = undefined;
  }

  #later(ms: number, callback: () => void): void {
    this.#cancelTimer = this.#environment.later(ms, callback);
  }

  #try(url: string, found: () => void): void {
    const { WebSocket } = this.#environment;
    if (WebSocket === undefined) return;
    const fail = (): void => {
      this.stop();
      this.#later(this.#delayMs, () => this.#try(url, found));
      this.#delayMs = Math.min(2 * this.#delayMs, TRY_MS[1]);
    };
    this.#triedAt = this.#environment.now();
    this.#later(OPEN_MS, fail);
    this.#socket = openWebSocket(WebSocket, url, {
      opened: () => {},
      heard: () => {},
      failed: () => {},
      closed: fail,
      received: (text) => {
        if (parseMessage(text)?.type !== "connection:established") return fail();
        this.stop();
        this.#delayMs = TRY_MS[0];
        found();
      },
    });
  }
}

/** What the client needs of its surroundings: a page, a worker or Node. Nothing is touched before a client connects. */
import type { ConnectOptions, WebSocketConstructor } from "./options.ts";

/** What happens to the page or the device. */
export type PageEvent = "shown" | "hidden" | "frozen" | "woken" | "online" | "offline";

export interface Environment {
  /** Milliseconds on a clock that never goes backwards. */
  now(): number;
  /** Milliseconds since 1970. */
  wall(): number;
  random(): number;
  /** Call `callback` after `ms`; return a function that prevents it. */
  later(ms: number, callback: () => void): () => void;
  /** Call `callback` soon, after the present task. */
  soon(callback: () => void): void;
  /** Whether the page is visible; true where there is none. */
  visible(): boolean;
  /** Call `listener` when something happens to the page; return a function that stops it. */
  watchPage(listener: (event: PageEvent) => void): () => void;
  readonly WebSocket: WebSocketConstructor | undefined;
  readonly fetch: typeof globalThis.fetch | undefined;
}

/** Return the surroundings of this program. */
export function makeEnvironment(options: ConnectOptions): Environment {
  const global = globalThis as Partial<typeof globalThis>;
  return {
    now: () => performance.now(),
    wall: () => Date.now(),
    random: () => Math.random(),
    later(ms, callback) {
      const timer = setTimeout(callback, Math.min(Math.max(0, Math.ceil(ms)), 0x7fffffff));
      return () => clearTimeout(timer);
    },
    soon: (callback) => queueMicrotask(callback),
    visible: () => global.document?.visibilityState !== "hidden",
    watchPage,
    WebSocket: options.WebSocket ?? global.WebSocket,
    get fetch() {
      return options.fetch ?? global.fetch;
    },
  };
}

function watchPage(listener: (event: PageEvent) => void): () => void {
  const { document } = globalThis as Partial<typeof globalThis>;
  const events = new AbortController();
  const on = (target: Partial<EventTarget> | undefined, name: string, event?: PageEvent): void =>
    target?.addEventListener?.(
      name,
      () => listener(event ?? (document?.visibilityState === "hidden" ? "hidden" : "shown")),
      { signal: events.signal },
    );
  const global = globalThis as unknown as Partial<EventTarget>;
  on(document, "visibilitychange");
  on(document, "freeze", "frozen");
  on(document, "resume", "woken");
  on(global, "pagehide", "frozen");
  on(global, "pageshow", "woken");
  on(global, "online", "online");
  on(global, "offline", "offline");
  return () => events.abort();
}

/** What a session asks of its owner, and what it is made of. */
import type { BackoffPolicy } from "./backoff.ts";
import type { HubClock } from "./clock.ts";
import type { TidingsError } from "./errors.ts";
import type { RawItem } from "./items.ts";
import type { Backfill, Subscription } from "./subscription.ts";

/** What the owner of a session must do. */
export type Action =
  /** Open a connection; over a stream, with these paths in its address. */
  | { readonly do: "connect"; readonly generation: number; readonly paths: readonly string[]; readonly since: string }
  | { readonly do: "disconnect" }
  | { readonly do: "send"; readonly text: string }
  /** Ask the source for a token, and call `authentication.arrived`. */
  | { readonly do: "token"; readonly request: number }
  /** Find out why no socket opened, and call `diagnosed`. */
  | { readonly do: "diagnose"; readonly generation: number }
  /** Fetch the key fields of the hub's contract, and call `keysArrived`. */
  | { readonly do: "keys"; readonly generation: number }
  /** Load the plan of streams, and call `planned`. */
  | { readonly do: "plan"; readonly generation: number }
  | { readonly do: "backfill"; readonly request: Backfill }
  | { readonly do: "deliver"; readonly subscription: Subscription; readonly items: readonly RawItem[] }
  | { readonly do: "end"; readonly subscription: Subscription; readonly error: TidingsError };

/**
 * - `idle`: no one needs a connection. `waiting`: until the next try. `suspended`: until the page is shown.
 * - `preparing`: beginnings are read over HTTP before a stream is opened.
 * - `connecting`, `diagnosing`, `greeting`, `authenticating`, `open`: the life of one socket.
 * - `closed`: until the application acts.
 */
export type Phase =
  | "idle"
  | "waiting"
  | "suspended"
  | "preparing"
  | "connecting"
  | "diagnosing"
  | "greeting"
  | "authenticating"
  | "open"
  | "closed";

export interface SessionOptions {
  readonly policy: BackoffPolicy;
  /** Milliseconds on a clock that never goes backwards. */
  readonly now: () => number;
  /** Milliseconds since 1970. */
  readonly wall: () => number;
  readonly random: () => number;
  readonly visible: boolean;
  /** Whether the application holds data that was current once, from this connection or another of the client. */
  readonly holds: () => boolean;
  readonly clock: HubClock;
}

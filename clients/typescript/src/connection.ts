/** The state of the client's connection, as an application shows it. */
import type { TidingsError } from "./errors.ts";

/**
 * - `connecting`: nothing was received yet.
 * - `catching-up`: connected; a snapshot or missed events are being read.
 * - `live`: what was received is current.
 * - `stale`: what was received may be old: the connection was lost or does not answer. The client reconnects.
 * - `closed`: the client has ended, until `signIn` or `retryNow`; `reason.error` states why.
 */
export type ConnectionStateName = "connecting" | "catching-up" | "live" | "stale" | "closed";

/**
 * Why the connection is in its state.
 *
 * - `idle`: nothing watches or publishes yet, so the client has not connected.
 * - `connecting`, `catching-up`, `connected`: as the state.
 * - `silent`: the hub does not answer a ping.
 * - `lost`: the connection broke, or could not be made; `error` says more.
 * - `offline`: the device has no network, by its own account.
 * - `hidden`: the event stream was released because the page is hidden.
 * - `refused`: the hub refuses the client for good; `error` says more.
 * - `signed-out`: the client no longer has a token.
 * - `closed`: the application called `close`.
 */
export type ReasonCode =
  | "idle"
  | "connecting"
  | "catching-up"
  | "connected"
  | "silent"
  | "lost"
  | "offline"
  | "hidden"
  | "refused"
  | "signed-out"
  | "closed";

export interface ConnectionReason {
  readonly code: ReasonCode;
  readonly error?: TidingsError;
}

/** One attempt to connect again. */
export interface Reconnect {
  /** When it began, in milliseconds since 1970 by this device's clock. */
  readonly at: number;
  /** Why the connection before was lost. */
  readonly cause: string;
  /** How it went on: the outcome of resuming, or `failed`; `pending` until it is known. */
  readonly outcome: "pending" | "failed" | "live" | "complete" | "snapshot" | "gap";
}

/** Facts about the hub, from its greeting. */
export interface HubFacts {
  /** Id of the connection, also in the hub's logs. */
  readonly connectionId: string;
  /** Date of the contract's revision. */
  readonly contractVersion: string;
  /** Equal hashes mean equal contracts. */
  readonly contractHash: string;
  /** The channels of which something may be read. */
  readonly channels: readonly string[];
}

/** The state of the connection: an immutable snapshot. */
export interface ConnectionState {
  readonly state: ConnectionStateName;
  /** When this state began, in milliseconds since 1970 by this device's clock. */
  readonly since: number;
  readonly reason: ConnectionReason;
  /** When the hub was last heard, in milliseconds since 1970 by this device's clock: set while `stale` or `closed`. */
  readonly heardAt?: number;
  /** When the client tries to connect again, in milliseconds since 1970 by this device's clock. */
  readonly retryAt?: number;
  /** The last ten reconnects, the newest last. */
  readonly attempts: readonly Reconnect[];
  readonly transport?: "websocket" | "sse";
  /** The name by which the hub knows this client; absent without authentication. */
  readonly subject?: string;
  /** What the subject may do, as grants are written; absent until the hub names them. */
  readonly grants?: readonly string[];
  /** When the credential expires, RFC 3339. */
  readonly expiresAt?: string;
  /** Absent before the first greeting. */
  readonly hub?: HubFacts;
}

/** The state of a client that no one uses yet; also the state with which a server renders. */
export const IDLE: ConnectionState = Object.freeze({
  state: "connecting",
  since: 0,
  reason: Object.freeze({ code: "idle" }),
  attempts: Object.freeze([]),
});

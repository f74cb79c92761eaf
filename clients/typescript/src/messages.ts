/** Messages of the protocol, as they are on the wire. */
import { ConnectionLostError, type ErrorData, HubClosedError } from "./errors.ts";

/** Name of the protocol, offered in the handshake. */
export const PROTOCOL = "tidings.v1";

/** The longest delay that a hub may ask for: a wrong number must not keep a client away for weeks. */
export const MAX_RETRY_AFTER_MS = 300_000;
/** Close code of a hub that refuses the token. */
export const REJECTED = 4001;
/** Close codes of RFC 6455 after which another try would end the same. */
const FINAL = [1000, 1002, 1003, 1007, 1008, 1009, 1010];
/** Close code while the license of the hub has expired: it may be renewed. */
const LICENSE_EXPIRED = 4051;

/** Any message of the hub. */
export interface Message {
  readonly type: string;
  readonly timestamp: string;
  readonly trace_id: string;
  readonly data: unknown;
  readonly channel?: string;
  readonly position?: string;
  readonly event_id?: string;
  readonly id?: string;
  readonly reply_to?: string;
}

export interface Established {
  readonly connection_id: string;
  readonly contract: { readonly version: string; readonly hash: string };
  readonly position: string;
  readonly now: string;
  readonly heartbeat_s: number;
  readonly channels: readonly string[];
  readonly auth: string;
}

export interface Closed {
  readonly code: number;
  readonly reason: string;
  readonly reconnect: boolean;
  readonly retry_after_ms?: number;
}

export interface AuthRequired {
  readonly reason: string;
  readonly deadline_s: number;
}

export interface AuthSuccess {
  readonly subject: string;
  readonly grants: readonly string[];
  readonly expires_at?: string;
  readonly removed?: readonly string[];
}

export type Refusal = ErrorData & { readonly retry_after_ms?: number };

/** Return the message in `text`; undefined if it is none. */
export function parseMessage(text: string): Message | undefined {
  try {
    const value = JSON.parse(text) as Message | null;
    if (typeof value?.type === "string") return value;
  } catch {}
  return undefined;
}

/** Return whether a client should reconnect after a close code (docs/protocol/codes.md, "Close codes"). */
export function mayReconnect(code: number): boolean {
  return !(FINAL.includes(code) || (code >= 4000 && code <= 4099 && code !== LICENSE_EXPIRED));
}

/**
 * Return what the end of a WebSocket with a close code means: a {@link ConnectionLostError} if the client may come back.
 *
 * @param notice - What the hub sent before; it tells what the code would, if the socket ended without one.
 */
export function readEnd(code: number, reason: string, notice?: Closed): ConnectionLostError | HubClosedError {
  const ended = code === 1005 || code === 1006 ? (notice?.code ?? code) : code;
  const text = notice?.reason || reason;
  if (mayReconnect(ended) && notice?.reconnect !== false) {
    return new ConnectionLostError(text || `the connection ended (${ended})`, ended);
  }
  const what = ended === REJECTED ? "refuses the token" : `ended the connection (${ended})`;
  return new HubClosedError(`the hub ${what}${text && `: ${text}`}`, ended);
}

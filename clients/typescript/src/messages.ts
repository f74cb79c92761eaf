/** Messages of the protocol, as they are on the wire. */
import type { ErrorData } from "./errors.ts";

/** Name of the protocol, offered in the handshake. */
export const PROTOCOL = "tidings.v1";

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

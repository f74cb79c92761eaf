/** A client for tidings hubs: https://github.com/tidings/tidings */
import { HubClient } from "./client.ts";
import type { ConnectOptions, Hub } from "./options.ts";

export type {
  ConnectionReason,
  ConnectionState,
  ConnectionStateName,
  HubFacts,
  ReasonCode,
  Reconnect,
} from "./connection.ts";
export * from "./errors.ts";
export type { TidingsEvents } from "./generated/contract.ts";
export type * from "./items.ts";
export { PROTOCOL } from "./messages.ts";
export type { Estimate, Operation, OperationState, Presence } from "./operations/operation.ts";
export { isLive } from "./operations/operation.ts";
export type { Operations, OperationsSnapshot, SingleOperationStore } from "./operations/snapshot.ts";
export type * from "./options.ts";
export { type RecentEvents, type RecentEventsOptions, recentEvents } from "./recent.ts";
export type { Store } from "./store.ts";

/**
 * Return a client of the hub at `url`. It connects when something is watched.
 *
 * @param url - The hub's `http:`, `https:`, `ws:` or `wss:` URL. In a page it may be relative to the page's base, which
 *   is the default.
 * @throws {@link ConfigError} when the URL or an option is invalid.
 */
export function connect(url: string | URL = "", options: ConnectOptions = {}): Hub {
  return new HubClient(url, options);
}

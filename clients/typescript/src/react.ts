"use client";

/** Hooks for React 18 and later: a client for a part of the page, and its stores as values. */

import { createContext, createElement, type ReactNode, useContext, useMemo, useSyncExternalStore } from "react";
import { type ConnectionState, IDLE } from "./connection.ts";
import { ConfigError } from "./errors.ts";
import { connect } from "./index.ts";
import type { Operation } from "./operations/operation.ts";
import { NO_OPERATIONS, type OperationsSnapshot } from "./operations/snapshot.ts";
import type { ConnectOptions, Hub } from "./options.ts";
import { NO_EVENTS, type RecentEvents, type RecentEventsOptions, recentEvents } from "./recent.ts";
import type { Store } from "./store.ts";

/** The client of the nearest provider; null while a server renders, undefined without a provider. */
const HubContext = createContext<Hub | null | undefined>(undefined);

export interface HubProviderProps {
  /** A client of your own. You close it. */
  hub?: Hub | undefined;
  /** URL of the hub; default the page's own. Another URL makes another client. */
  url?: string | URL | undefined;
  /** Options of the client, read when it is made. Use `hub.signIn` for another token. */
  options?: ConnectOptions | undefined;
  children?: ReactNode;
}

/**
 * Gives the components below it a client of one hub. The client connects while one of them uses a hook, and disconnects
 * after the last: there is nothing to close, also in StrictMode and with hot reloading.
 */
export function HubProvider({ hub, url, options, children }: HubProviderProps): ReactNode {
  const address = url?.toString();
  // biome-ignore lint/correctness/useExhaustiveDependencies: options are often written in place, as a new object in each render.
  const value = useMemo(() => hub ?? (isServer() ? null : connect(address, options)), [hub, address]);
  return createElement(HubContext.Provider, { value }, children);
}

/** Returns whether there is no page: a server renders, and nothing must connect. */
function isServer(): boolean {
  return (globalThis as Partial<typeof globalThis>).document === undefined;
}

/**
 * Returns the client of the nearest `HubProvider`, for what is not shown: `publish`, `cancel`, `signIn`.
 *
 * @throws {@link ConfigError} without a provider, and while a server renders: use it in effects and event handlers.
 */
export function useHub(): Hub {
  const hub = useAnyHub();
  if (hub === null) throw new ConfigError("a server renders: there is no client", "Call it in an effect or a handler.");
  return hub;
}

/** All operations: see `OperationsSnapshot`. The component is rendered at most once per frame. */
export function useOperations(): OperationsSnapshot {
  return useStore(useAnyHub()?.operations, NO_OPERATIONS);
}

/**
 * One operation: undefined while it has not been read, null if the hub does not know it. The component is rendered when
 * this operation changes, and for no other.
 */
export function useOperation(id: string): Operation | null | undefined {
  const hub = useAnyHub();
  const store = useMemo(() => hub?.operations.operation(id), [hub, id]);
  return useStore(store, undefined);
}

/** The newest events on one or more paths, such as `data` or `operations/acme.*`; at most once per frame. */
export function useEvents(path: string | readonly string[], options: RecentEventsOptions = {}): RecentEvents {
  const hub = useAnyHub();
  const { limit, since } = options;
  const key = JSON.stringify(path); // an array that is written in place is another one in each rendering
  const store = useMemo(() => {
    const given = { ...(limit === undefined ? {} : { limit }), ...(since === undefined ? {} : { since }) };
    return hub ? recentEvents(hub, JSON.parse(key) as string | readonly string[], given) : undefined;
  }, [hub, key, limit, since]);
  return useStore(store, NO_EVENTS);
}

/** State of the connection, with the reason and the last reconnects: see `ConnectionState`. */
export function useConnection(): ConnectionState {
  return useStore(useAnyHub()?.connection, IDLE);
}

function useAnyHub(): Hub | null {
  const hub = useContext(HubContext);
  if (hub === undefined) throw new ConfigError("no hub", "Wrap the components in <HubProvider url=…>.");
  return hub;
}

/** Returns the value of a store; without one, as on a server, the value with which a server renders. */
function useStore<T>(store: Store<T> | undefined, initial: T): T {
  return useSyncExternalStore(
    store?.subscribe ?? subscribeToNothing,
    store?.getSnapshot ?? (() => initial),
    store?.getServerSnapshot ?? (() => initial),
  );
}

function subscribeToNothing(): () => void {
  return () => {};
}

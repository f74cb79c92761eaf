/** The public interface of a client. */
import type { ConnectionState } from "./connection.ts";
import type { WatchItem } from "./items.ts";
import type { Operations } from "./operations/snapshot.ts";
import type { Store } from "./store.ts";

/**
 * Returns the present token; null if the person is signed out. It may ask a server. If it has not settled after 8 s, the
 * client reports that (`token_unavailable`) and calls it again later; to ask a person, call `signIn` with the answer.
 */
export type TokenSupplier = () => string | null | Promise<string | null>;

/** A constructor with the interface of the browser's WebSocket. */
export type WebSocketConstructor = new (url: string, protocols?: string | string[]) => WebSocket;

export interface ConnectOptions {
  /** The credential: a token or an API key, or a function that returns one, which is asked again before it expires. */
  token?: string | TokenSupplier;
  /** Whether HTTP requests send cookies; default `same-origin`, as the browser's own. */
  credentials?: RequestCredentials;
  /** WebSocket implementation; default the global one. Node before 22 needs the class of the package `ws`. */
  WebSocket?: WebSocketConstructor;
  /** Implementation of `fetch`; default the global one. */
  fetch?: typeof globalThis.fetch;
  /** `auto`, the default: WebSocket, and Server-Sent Events where it does not get through. */
  transport?: "auto" | "websocket" | "sse";
  /** Items that wait for a slow iterator before it overflows; default 10,000. */
  bufferSize?: number;
  /** Bounds of the delay before a reconnect, in milliseconds; default 500 and 15,000. */
  reconnect?: { baseMs?: number; capMs?: number };
}

export interface WatchOptions {
  /** Ends the watch. */
  signal?: AbortSignal;
  /** Where to start: `snapshot` (default), `now`, `first`, an RFC 3339 time or a position. */
  since?: string;
  /** Items that wait for a slow iterator; default that of the client. */
  bufferSize?: number;
}

export interface RequestOptions {
  /** Default GET, or POST with a body. */
  method?: string;
  /** Parameters of the query; an array repeats the parameter, and undefined leaves it out. */
  query?: Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;
  /** Sent as JSON. */
  body?: unknown;
  headers?: Readonly<Record<string, string>>;
  signal?: AbortSignal | undefined;
}

export interface PublishOptions {
  /** Default: the channel of the type. */
  channel?: string;
  /** Correlates the event with others; default a new one. */
  traceId?: string;
  /** RFC 3339; default the time at which the hub receives it. */
  timestamp?: string;
  /** Makes publishing idempotent, 16–64 characters; default a new one. */
  eventId?: string;
  /** Ends the wait for the hub; an event that was sent by then may be stored. */
  signal?: AbortSignal;
}

/** The hub has stored an event. */
export interface Accepted {
  readonly eventId: string;
  readonly position: string;
  /** Of an `operation:start`: its attempt. */
  readonly attempt?: number;
  /** Whether the event was stored before, by an earlier try. */
  readonly duplicate?: boolean;
}

export interface CancelOptions {
  /** Shown to the producer; at most 1,000 characters. */
  reason?: string;
  /** Seconds until the hub answers at the latest, 0–3,600; default 10. */
  timeoutS?: number;
  signal?: AbortSignal;
}

/** How a request to cancel went (docs/protocol/operations.md, "Outcomes of cancelling"). */
export interface CancelOutcome {
  readonly operation_id: string;
  readonly attempt: number;
  readonly outcome: "cancelled" | "finished_first" | "pending" | "refused" | "unreachable";
  readonly state: string;
  readonly reason?: string;
  readonly children?: readonly CancelOutcome[];
}

/** A client of one hub. It connects with the first watch or listener, and disconnects after the last. */
export interface Hub {
  /** Address of the hub's HTTP interface, with a slash at its end. */
  readonly url: string;
  /** State of the connection. */
  readonly connection: Store<ConnectionState>;
  /** The hub's clock: `now` is in milliseconds since 1970, and never goes backwards between two greetings. */
  readonly clock: { now(): number };
  /** All operations, folded from their events by the hub's rules. */
  readonly operations: Operations;

  /**
   * Read events of one or more paths, such as `operations/acme.*`.
   *
   * The iterator goes on over reconnects. It ends after `break`, `return`, an abort or `close`.
   *
   * @throws {@link TidingsError} when the hub refuses the paths, or refuses the client for good.
   */
  watch(path: string | readonly string[], options?: WatchOptions): AsyncIterableIterator<WatchItem>;
  /** Call `callback` with each item, until the returned function is called; a lost sign-in only pauses it. */
  watch(path: string | readonly string[], callback: (item: WatchItem) => void, options?: WatchOptions): () => void;

  /**
   * Publish an event, and resolve when the hub has stored it. Events are stored in the order of the calls.
   *
   * @throws {@link HubError} when the hub refuses it, {@link HubUnreachableError} when it cannot be reached.
   */
  publish(type: string, data?: unknown, options?: PublishOptions): Promise<Accepted>;
  /** Ask to cancel an operation, and resolve with the outcome within `timeoutS`. */
  cancel(operationId: string, options?: CancelOptions): Promise<CancelOutcome>;
  /** Send an HTTP request to the hub with the client's credential, and resolve with the JSON of the answer. */
  request<T = unknown>(path: string, options?: RequestOptions): Promise<T>;

  /** Use another token or supplier from now on; connects again if the client was signed out or refused. */
  signIn(token: string | TokenSupplier): void;
  /** Forget the token and disconnect; watches pause until `signIn`. */
  signOut(): void;
  /**
   * Return when the hub was last heard, in milliseconds since 1970 by this device's clock; undefined before its
   * greeting. While the connection is live this changes with each message, so no listener is called: look at it when
   * its age is shown.
   */
  heardAt(): number | undefined;
  /** Connect now rather than after the delay, also after a refusal. */
  retryNow(): void;
  /** Disconnect for good, and end all watches. */
  close(): void;
}

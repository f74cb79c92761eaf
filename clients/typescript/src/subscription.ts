/** One watch of a connection, and what it needs of it. */
import type { TidingsError } from "./errors.ts";
import type { LoggedEvent, Outcome, RawItem, Sink } from "./items.ts";

/** One watch. */
export interface Subscription {
  paths: readonly string[];
  readonly sink: Sink;
  matches: (channel: string, place: string) => boolean;
  /** Where it starts on the next connection, unless it is live: then at the connection's position. */
  since: string;
  /** `new`: the hub does not know it. `reading`: the connection brings its beginning. `joining`: HTTP does. */
  state: "new" | "reading" | "joining" | "live";
  outcome: Outcome;
  /** Positions of a snapshot that is being read, or of the last answer over HTTP: they may come again. */
  seen: Set<string>;
  /** Live events that wait for the beginning, which comes over HTTP; undefined if none must wait. */
  waiting: LoggedEvent[] | undefined;
  /** The request over HTTP whose answer it waits for. */
  backfill: Backfill | undefined;
  /** Events in one answer over HTTP: fewer after an answer broke off, because a bad network may carry those. */
  size: number;
  /** Whether it is live but for an exchange of paths, of which its owner hears nothing. */
  quiet: boolean;
  /** Whether it is asked for alone, because the hub refused it together with others. */
  alone: boolean;
}

/** A request for the beginning of a watch. */
export interface Backfill {
  readonly subscription: Subscription;
  readonly since: string;
  /** Whether it is the first one of its beginning. */
  readonly first: boolean;
}

/** An answer of `GET /v1/snapshot` or `GET /v1/events`. */
export interface BackfillPage {
  readonly events: readonly LoggedEvent[];
  /** Where to go on. */
  readonly next: string;
  readonly done: boolean;
  readonly outcome: Outcome;
  readonly gap?: { readonly after: string; readonly until: string; readonly reason: string };
}

/** What the watches need from their connection. */
export interface SubscriptionsPort {
  send(type: string, id: string, data: unknown): void;
  /** Open a stream of `paths`; all beginnings that it does not bring have been read. */
  open(paths: readonly string[], since: string): void;
  backfill(request: Backfill): void;
  deliver(subscription: Subscription, items: readonly RawItem[]): void;
  end(subscription: Subscription, error: TidingsError): void;
  /** The hub cannot serve a command now: a later connection may. */
  retry(error: TidingsError, retryAfterMs: number): void;
}

/** One watch of a connection, and what it needs of it. */
import type { Action } from "./actions.ts";
import type { TidingsError } from "./errors.ts";
import type { LiveNotice, LoggedEvent, Outcome, RawItem, Sink, SubscribedNotice } from "./items.ts";
import { covers, makeMatcher } from "./paths.ts";

/** Events in one answer of the history; the hub's limit. */
const PAGE = 1_000;

/** One watch. */
export class Subscription {
  paths: readonly string[];
  readonly sink: Sink;
  matches: (channel: string, place: string) => boolean;
  /** Where it starts on the next connection, unless it is live: then at the connection's position. */
  since: string;
  /** `new`: the hub does not know it. `reading`: the connection brings its beginning. `joining`: HTTP does. */
  state: "new" | "reading" | "joining" | "live" = "new";
  outcome: Outcome = "live";
  /** Live events that wait for the beginning, which comes over HTTP; undefined if none must wait. */
  waiting: LoggedEvent[] | undefined;
  /** The request over HTTP whose answer it waits for. */
  backfill: Backfill | undefined;
  /** Events in one answer over HTTP: fewer after an answer broke off, because a bad network may carry those. */
  size = PAGE;
  /** Whether it is live but for an exchange of paths, of which its owner hears nothing. */
  quiet = false;
  /** Whether it is asked for alone, because the hub refused it together with others. */
  alone = false;
  /** Positions of a snapshot that is being read, or of the last answer over HTTP: they may come again. */
  #seen = new Set<string>();

  constructor(paths: readonly string[], since: string, sink: Sink) {
    this.paths = paths;
    this.since = since;
    this.sink = sink;
    this.matches = makeMatcher(paths);
  }

  /** Begin again, on this connection or the next. */
  restart(): void {
    this.state = "new";
    this.waiting = this.backfill = undefined;
  }

  /** Note that the connection is gone, which was at `position`; `quiet`: only to be opened again for other paths. */
  rewind(position: string, quiet: boolean): void {
    this.quiet = quiet && (this.quiet || this.state === "live");
    if (this.state === "live") this.since = position;
    if (this.state === "joining") this.#seen = new Set();
    this.restart();
  }

  /** Return whether an event of a snapshot or a catch-up is new; one of a snapshot may come again after a reconnect. */
  reads(position: string): boolean {
    if (this.#seen.has(position)) return false;
    if (this.outcome === "snapshot") this.#seen.add(position);
    return true;
  }

  /** Take an answer over HTTP; return what it brings. */
  answered({ first }: Backfill, page: BackfillPage): RawItem[] {
    this.outcome = page.outcome;
    const items: RawItem[] = first ? [this.notice("channel:subscribed", page.next)] : [];
    if (page.gap !== undefined) items.push({ type: "channel:gap", data: page.gap });
    this.since = page.next;
    this.size = Math.min(2 * this.size, PAGE);
    if (page.events.length > 0) this.#seen = new Set(page.events.map(({ position }) => position));
    return [...items, ...page.events];
  }

  /** Return the live events that the answers over HTTP did not hold. */
  rest(): readonly LoggedEvent[] {
    const waiting = this.waiting ?? [];
    // The newest event that both hold is the end of the answers: all before it are in them, or superseded.
    return waiting.slice(waiting.findLastIndex(({ position }) => this.#seen.has(position)) + 1);
  }

  /** Note that everything up to `position` was delivered; return what its owner hears of that. */
  settle(position: string): readonly RawItem[] {
    const { quiet } = this;
    this.state = "live";
    this.alone = this.quiet = false;
    this.waiting = undefined;
    this.#seen = new Set();
    return quiet ? [] : [this.notice("channel:live", position)];
  }

  notice(type: "channel:subscribed" | "channel:live", position: string): SubscribedNotice | LiveNotice {
    return { type, data: { channels: this.paths, position, outcome: this.outcome } };
  }

  /** Note that some paths may no longer be read; return those of this watch. */
  withdraw(removed: readonly string[]): readonly string[] {
    const lost = this.paths.filter((path) => path !== "*" && removed.some((gone) => covers(gone, path)));
    if (lost.length > 0) {
      this.paths = this.paths.filter((path) => !lost.includes(path));
      this.matches = makeMatcher(this.paths);
    }
    return lost;
  }
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
  act(action: Action): void;
  send(type: string, id: string, data: unknown): void;
  /** Read the key fields of the hub's own types, set them, and flush; or load the plan of streams, and start one. */
  ask(what: "keys" | "plan"): void;
  /** Open a stream of `paths`; all beginnings that it does not bring have been read. */
  open(paths: readonly string[], since: string): void;
  /** The hub cannot serve a command now: a later connection may. */
  retry(error: TidingsError, retryAfterMs: number): void;
}

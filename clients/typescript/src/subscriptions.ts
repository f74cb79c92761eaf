/**
 * The watches of one connection: which commands they need, and which events they get. Nothing here awaits.
 *
 * A connection has one set of paths, and the hub sends each event once. So only the first watches of a connection can
 * get a snapshot or a catch-up from it: all that start at the same place together. Each other one reads its beginning
 * over HTTP while its live events wait in a buffer, and then goes on with those that the answers did not hold.
 */
import { ForbiddenError, makeHubError, type TidingsError } from "./errors.ts";
import type { LoggedEvent, Outcome, RawItem, Sink } from "./items.ts";
import type { Message, Refusal } from "./messages.ts";
import { covers, eventKey, type KeyFields, simplify } from "./paths.ts";
import type { PlanStream } from "./stream.ts";
import { type Backfill, type BackfillPage, Subscription, type SubscriptionsPort } from "./subscription.ts";

/** Live events that wait while a watch reads its beginning over HTTP; if there are more, it reads them over HTTP. */
const MAX_WAITING = 10_000;
/** Paths in one command; the hub's limit. */
const MAX_PATHS = 1_000;
/** Id of the command that stands for the address of a stream. */
const STREAM = "";

interface Command {
  /**
   * - `first`: the connection brings the beginning.
   * - `now`: there is no beginning to bring.
   * - `join`: HTTP brings it.
   * - `barrier`: it was brought; all that it holds has been received when the hub answers.
   * - `leave`: some paths are unsubscribed.
   */
  readonly kind: "first" | "now" | "join" | "barrier" | "leave";
  readonly subscriptions: readonly Subscription[];
}

interface SubscribedData {
  readonly channels: readonly string[];
  readonly position: string;
  readonly outcome: Outcome;
}

/** The watches, in the order in which they were added. */
export class Subscriptions extends Set<Subscription> {
  /** Position up to which the live watches have read; "" before it is known. */
  position = "";
  /** Position of the hub's log in its greeting. */
  head = "";
  /** Key fields of the hub's own types; undefined while they are not known. */
  keyFields: KeyFields | undefined;
  /** How the watches went on after the latest reconnect. */
  outcome: Outcome = "live";
  readonly #port: SubscriptionsPort;
  readonly #commands = new Map<string, Command>();
  /** Paths of the connection, as the hub listed them. */
  #wire: readonly string[] = [];
  /** Whether the connection takes commands. */
  #open = false;
  #count = 0;
  /** Whether the key fields were asked for on this connection. */
  #asked = false;

  constructor(port: SubscriptionsPort) {
    super();
    this.#port = port;
  }

  /** Whether every watch has what the connection itself must bring. */
  get caughtUp(): boolean {
    const all = [...this];
    const waiting = all.some(({ quiet, state }) => !quiet && state === "reading");
    return !waiting && (!this.hasNew || all.some(({ quiet, state }) => quiet || state !== "new"));
  }

  /** Whether there are watches that the hub does not know. */
  get hasNew(): boolean {
    return this.#some("new");
  }

  #some(state: Subscription["state"]): boolean {
    return [...this].some((subscription) => subscription.state === state);
  }

  /** Ask for the key fields, unless they are known, if routing needs them: for several watches, one of single keys. */
  #waitsForKeys(): boolean {
    if (this.keyFields || this.size < 2 || !this.#paths().some((path) => path.includes("/"))) return false;
    if (!this.#asked) this.#port.ask("keys");
    this.#asked = true;
    return true;
  }

  #paths(): string[] {
    return [...this].flatMap(({ paths }) => paths);
  }

  /** Add a watch. */
  begin(paths: readonly string[], since: string, sink: Sink): Subscription {
    const subscription = new Subscription(paths, since, sink);
    this.add(subscription);
    return subscription;
  }

  /** End the watches: those that outlive a refusal only `forever`. */
  end(error: TidingsError, forever: boolean): void {
    for (const subscription of [...this]) {
      if (forever || !subscription.sink.persistent) this.#end(subscription, error);
    }
  }

  #end(subscription: Subscription, error: TidingsError): void {
    if (this.delete(subscription)) this.#port.act({ do: "end", subscription, error });
  }

  // The connection.

  /** Note that the connection takes commands. */
  opened(): void {
    this.#open = true;
    this.outcome = "live";
    if (![...this].some(({ since }) => since === this.position)) this.position = this.head;
  }

  /** Note that the connection is gone; `quiet`: only to be opened again for other paths. */
  lost(quiet: boolean): void {
    this.#open = this.#asked = false;
    this.#wire = [];
    this.#commands.clear();
    this.#rewind(quiet);
  }

  #rewind(quiet: boolean): void {
    for (const subscription of this) subscription.rewind(this.position, quiet);
  }

  /** Send the commands that new and removed watches need. */
  flush(): void {
    if (!this.#open || this.#waitsForKeys() || this.#leave()) return;
    const groups = new Map<unknown, Subscription[]>();
    for (const subscription of this) {
      if (subscription.state !== "new") continue;
      const start = subscription.alone ? subscription : subscription.since;
      groups.set(start, [...(groups.get(start) ?? []), subscription]);
    }
    const rank = ([subscription]: readonly Subscription[]): number => (subscription?.since === this.position ? 0 : 1);
    // Those that were live come first: the connection brings what they missed, conflated, and in one go.
    for (const group of [...groups.values()].sort((a, b) => rank(a) - rank(b))) {
      const since = group[0]?.since ?? "now";
      if (this.#wire.length === 0 && this.#commands.size === 0) this.#command("first", group, since);
      else this.#command(since === "now" ? "now" : "join", group, "now");
    }
  }

  #command(kind: Command["kind"], subscriptions: readonly Subscription[], since: string): void {
    const channels = simplify(subscriptions.flatMap(({ paths }) => paths));
    for (let first = 0; first < channels.length; first += MAX_PATHS) {
      const id = `s${++this.#count}`;
      this.#commands.set(id, { kind, subscriptions });
      this.#port.send("channel:subscribe", id, { channels: channels.slice(first, first + MAX_PATHS), since });
    }
    if (kind === "barrier") return;
    for (const subscription of subscriptions) {
      subscription.state = kind === "first" ? "reading" : "joining";
      // If the connection is lost before the answer, the watch starts where it would have started now.
      if (subscription.since === "now") subscription.since = this.position;
    }
  }

  /** Stop reading paths that no watch needs; return whether commands must wait for the answer. */
  #leave(): boolean {
    const kinds = [...this.#commands.values()].map(({ kind }) => kind);
    if (kinds.includes("leave")) return true;
    const needed = this.#paths();
    const unneeded = this.#wire.filter(
      (path) => (path !== "global" || needed.length === 0) && !needed.some((other) => covers(other, path)),
    );
    if (unneeded.length === 0 || kinds.length > 0) return false;
    const id = `s${++this.#count}`;
    this.#commands.set(id, { kind: "leave", subscriptions: [] });
    // A path cannot be narrowed in place. Then all watches leave, and go on from their position.
    const all = needed.length === 0 || unneeded.some((path) => needed.some((other) => covers(path, other)));
    this.#port.send("channel:unsubscribe", id, { channels: all ? ["*"] : unneeded });
    return true;
  }

  // Messages in.

  /** Handle a message; return whether it was one for the watches. */
  received(message: Message): boolean {
    const { channel, position, reply_to: id = STREAM, type } = message;
    if (channel !== undefined && position !== undefined) {
      this.#onEvent(message as LoggedEvent, channel, position);
      return true;
    }
    const data = message.data as SubscribedData;
    switch (type) {
      case "channel:subscribed":
        this.#onSubscribed(this.#commands.get(id), data);
        return true;
      case "channel:live":
        this.#onLive(data.position);
        return true;
      case "channel:unsubscribed":
        this.#commands.delete(id);
        this.#wire = data.channels;
        if (data.channels.length === 0) this.#rewind(true);
        this.flush();
        return true;
      case "channel:gap":
        for (const subscription of this) {
          const { state } = subscription;
          if (state === "live" || state === "reading") this.#deliver(subscription, [message as RawItem]);
        }
        return true;
      case "connection:position":
        if (!this.#some("reading")) this.position = data.position;
        return false;
      case "connection:error":
        return this.#onError(id, message.data as Refusal);
    }
    return false;
  }

  #onEvent(event: LoggedEvent, channel: string, position: string): void {
    const key = eventKey(event.type, event.data, this.keyFields);
    const place = key === undefined ? channel : `${channel}/${key}`;
    let moves = true;
    let restarted = false;
    for (const subscription of this) {
      const { state, waiting } = subscription;
      const matches = subscription.matches(channel, place);
      if (state === "live") {
        if (matches) this.#deliver(subscription, [event]);
      } else if (state === "reading") {
        if (matches && subscription.reads(position)) this.#deliver(subscription, [event]);
        // The events of a snapshot come from far back: resuming behind one would read a history that no one wants.
        if (subscription.outcome === "snapshot") moves = false;
        else subscription.since = position;
      } else if (matches && waiting !== undefined) {
        if (waiting.length < MAX_WAITING) waiting.push(event);
        else {
          subscription.restart(); // another answer over HTTP will hold them all
          restarted = true;
        }
      }
    }
    if (moves) this.position = position;
    if (restarted) this.flush();
  }

  #deliver(subscription: Subscription, items: readonly RawItem[]): void {
    if (items.length > 0) this.#port.act({ do: "deliver", subscription, items });
  }

  #onSubscribed(command: Command | undefined, { channels, outcome, position }: SubscribedData): void {
    this.#wire = channels;
    if (command?.kind !== "first") return;
    this.outcome = outcome;
    for (const subscription of command.subscriptions) {
      if (subscription.state !== "reading") continue;
      subscription.outcome = outcome;
      // After a gap, what only a snapshot can replace lies before the hub's position: ask for the same again.
      if (outcome === "live" || outcome === "complete") subscription.since = position;
      if (!subscription.quiet) this.#deliver(subscription, [subscription.notice("channel:subscribed", position)]);
    }
  }

  #onLive(position: string): void {
    const found = [...this.#commands].find(([, { kind }]) => kind !== "leave");
    if (found === undefined) return;
    const [id, { kind, subscriptions }] = found;
    this.#commands.delete(id);
    // Very many paths take several commands; the last answer counts.
    if ([...this.#commands.values()].some((other) => other.subscriptions === subscriptions)) return;
    this.position = position;
    for (const subscription of subscriptions) {
      if (this.has(subscription)) this.#advance(subscription, kind);
    }
    this.flush();
  }

  /** Bring a watch to its next state: the answer to a command is complete. */
  #advance(subscription: Subscription, kind: Command["kind"]): void {
    if (subscription.state === "reading") this.#deliver(subscription, subscription.settle(this.position));
    else if (subscription.state !== "joining") return;
    else if (kind === "join") {
      subscription.waiting = [];
      this.#request(subscription, true);
    } else if (kind === "now" || subscription.since === "now") {
      subscription.outcome = "live";
      const subscribed = subscription.notice("channel:subscribed", this.position);
      this.#deliver(subscription, [subscribed, ...subscription.settle(this.position)]);
    } else this.#deliver(subscription, [...subscription.rest(), ...subscription.settle(this.position)]);
  }

  // The beginning over HTTP.

  /** Bring the watches to where a stream can take all of them on, and open it: `start` is called with a plan. */
  prepare(): void {
    if (!this.#waitsForKeys() && !this.#reads()) this.#port.ask("plan");
  }

  /** Whether an answer over HTTP is awaited. */
  #reads(): boolean {
    return [...this].some(({ backfill }) => backfill !== undefined);
  }

  /** Open a stream, or read what comes before. */
  start(plan: PlanStream): void {
    const all = [...this];
    if (this.#reads()) return;
    const { next, since } = plan(all, this.position);
    if (next !== undefined) {
      this.#request(next, true);
      return;
    }
    this.#commands.set(STREAM, { kind: "first", subscriptions: all });
    this.#port.open(all.length === 0 ? ["global"] : simplify(this.#paths()), since);
  }

  #request(subscription: Subscription, first: boolean): void {
    subscription.backfill = { subscription, since: subscription.since, first };
    this.#port.act({ do: "backfill", request: subscription.backfill });
  }

  /** Take the answer to a request. */
  backfilled(request: Backfill, page: BackfillPage): void {
    const { subscription } = request;
    if (subscription.backfill !== request) return;
    subscription.backfill = undefined;
    if (request.since === "now") {
      this.prepare(); // the hub takes its paths; it starts with the stream
      return;
    }
    this.#deliver(subscription, subscription.answered(request, page));
    if (!page.done) this.#request(subscription, false);
    else if (!this.#open) this.prepare();
    // The answer may be ahead of this connection; what it holds has been received by the next `channel:live`.
    else if (this.has(subscription)) this.#command("barrier", [subscription], "now");
  }

  /** The beginning cannot be read. */
  backfillFailed(request: Backfill, error: TidingsError): void {
    const { subscription } = request;
    if (subscription.backfill !== request) return;
    subscription.backfill = undefined;
    if (error.recoverable) this.#port.retry(error, 0);
    else if (error.code === "invalid_position" && this.#losePosition(subscription)) subscription.restart();
    else this.#end(subscription, error);
    if (this.#open) this.flush();
    else this.prepare();
  }

  // Refusals.

  #onError(id: string, refusal: Refusal): boolean {
    const command = this.#commands.get(id);
    if (command === undefined || id === STREAM) return false;
    this.#commands.delete(id);
    const error = makeHubError(refusal);
    if (error.recoverable) {
      this.#port.retry(error, error.retryAfterMs);
      return true;
    }
    for (const subscription of command.subscriptions) subscription.restart();
    this.#refuse(command.subscriptions, error);
    this.flush();
    return true;
  }

  /** The hub refuses a stream of the watches; return whether another one may succeed. */
  refused(error: TidingsError): boolean {
    const all = [...this];
    if (all.every(({ alone }) => alone)) for (const subscription of all) this.#refuse([subscription], error);
    else this.#refuse(all, error);
    return all.length > 0;
  }

  /** Find out which of the watches the hub refuses, and end it. */
  #refuse(subscriptions: readonly Subscription[], error: TidingsError): void {
    for (const subscription of subscriptions) {
      if (subscriptions.length > 1) subscription.alone = true;
      else if (error.code !== "invalid_position" || !this.#losePosition(subscription)) this.#end(subscription, error);
    }
  }

  /** Start again with a snapshot if the hub cannot read a position that it gave; return whether it gave it. */
  #losePosition(subscription: Subscription): boolean {
    const after = subscription.since;
    if (after !== this.position) return false;
    subscription.since = "snapshot";
    this.#deliver(subscription, [{ type: "channel:gap", data: { after, until: "", reason: "refused" } }]);
    return true;
  }

  /** Note that some paths may no longer be read. */
  withdraw(removed: readonly string[]): void {
    this.#wire = this.#wire.filter((path) => !removed.includes(path));
    for (const subscription of [...this]) {
      const lost = subscription.withdraw(removed);
      const { paths: remaining } = subscription;
      if (lost.length === 0) continue;
      if (remaining.length > 0) {
        this.#deliver(subscription, [{ type: "client:removed", data: { removed: lost, remaining } }]);
      } else {
        const message = `the right to read ${lost.slice(0, 10).join(", ")} was withdrawn`;
        this.#end(subscription, new ForbiddenError({ code: "forbidden", message, recoverable: false }));
      }
    }
  }
}

/** What a watch yields: events of the log, and notices about the watch itself. */
import type { TidingsError } from "./errors.ts";
import type { TidingsEvents } from "./generated/contract.ts";

/** An event of the log, as the hub sent it. */
export interface LoggedEvent<Type extends string = string, Data = unknown> {
  readonly type: Type;
  /** RFC 3339 in UTC. */
  readonly timestamp: string;
  readonly trace_id: string;
  readonly data: Data;
  readonly channel: string;
  /** Opaque place in the hub's log: compare it for equality, and pass it as `since`. */
  readonly position: string;
  readonly event_id?: string;
}

/** How a watch began, or went on after a reconnect (PROTOCOL.md, "Outcomes"). */
export type Outcome = "live" | "snapshot" | "complete" | "gap";

/** The hub has accepted the watch; its events follow. */
export interface SubscribedNotice {
  readonly type: "channel:subscribed";
  readonly data: { readonly channels: readonly string[]; readonly position: string; readonly outcome: Outcome };
}

/** Everything up to `position` was yielded: the snapshot or the catch-up is complete. */
export interface LiveNotice {
  readonly type: "channel:live";
  readonly data: { readonly channels: readonly string[]; readonly position: string; readonly outcome: Outcome };
}

/** Durable events after `after`, up to and including `until`, may be missing. */
export interface GapNotice {
  readonly type: "channel:gap";
  readonly data: { readonly after: string; readonly until: string; readonly reason: string };
}

/** Paths that the subject may no longer read; no event of them follows. */
export interface RemovedNotice {
  readonly type: "client:removed";
  readonly data: { readonly removed: readonly string[]; readonly remaining: readonly string[] };
}

/** The iterator was read too slowly, and its buffer was full: `dropped` items after `after` are missing. */
export interface OverflowNotice {
  readonly type: "client:overflow";
  readonly data: {
    /** Position of the last event before the dropped ones; "" if there was none. */
    readonly after: string;
    /** Position of the last dropped event. */
    readonly until: string;
    readonly dropped: number;
  };
}

/** A message about the watch, not of the log. */
export type Notice = SubscribedNotice | LiveNotice | GapNotice | RemovedNotice | OverflowNotice;

/** The events of the log that every hub has, by their type. */
export type LoggedEvents = {
  [Type in keyof TidingsEvents as TidingsEvents[Type] extends { channel: string } ? Type : never]: LoggedEvent<
    Type,
    TidingsEvents[Type]["data"]
  >;
};

/**
 * An event of a type that this client does not know: of an application's contract, or of a newer hub.
 *
 * At run time its `type` is what the hub sent. For the compiler it is a literal that equals no other, so that comparing
 * `type` tells the known events apart; assign it to a `string` to compare it with your own types, or declare them in
 * the interface `TidingsEvents`.
 */
export type UnknownEvent = LoggedEvent<"any other type">;

/** An event of the log: compare `type` with a literal to know `data`. */
export type HubEvent = LoggedEvents[keyof LoggedEvents] | UnknownEvent;

/** What a watch yields. */
export type WatchItem = HubEvent | Notice;

/** An item inside the client, which reads no type of an event. */
export type RawItem = LoggedEvent | Notice;

/** Receives the items of one watch inside the client. */
export interface Sink {
  /** Whether the watch outlives a refusal of the client, and goes on after `signIn`. */
  readonly persistent: boolean;
  /** Take the items of one message, in order. */
  take(items: readonly RawItem[]): void;
  /** The watch has ended: with an error, or because its owner closed it. */
  end(error?: TidingsError): void;
}

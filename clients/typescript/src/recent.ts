/** The newest events of a watch, as a store: for views that show a tail of them. */

import type { HubEvent, WatchItem } from "./items.ts";
import { makeSchedule, type Schedule } from "./operations/schedule.ts";
import type { Hub } from "./options.ts";
import { callSafely, type Store } from "./store.ts";

/** The newest events of a watch: an immutable snapshot. */
export interface RecentEvents {
  /** The events, the newest last. */
  readonly events: readonly HubEvent[];
  /** Whether the snapshot, or what was missed, has been read. */
  readonly live: boolean;
  /** Number of gaps: places where events may be missing, because the hub no longer keeps them. */
  readonly gaps: number;
}

export interface RecentEventsOptions {
  /** Events that are kept; default 100. */
  limit?: number;
  /** Where to start, as in `watch`. */
  since?: string;
}

/** The recent events before any was read. */
export const NO_EVENTS: RecentEvents = Object.freeze({ events: Object.freeze([]), live: false, gaps: 0 });

/**
 * Returns the store of the newest events on one or more paths. It watches while anything listens to it, and changes at
 * most once per frame.
 */
export function recentEvents(
  hub: Hub,
  path: string | readonly string[],
  options: RecentEventsOptions = {},
): Store<RecentEvents> {
  return new RecentEventsStore(hub, path, options);
}

class RecentEventsStore implements Store<RecentEvents> {
  readonly #hub: Hub;
  readonly #path: string | readonly string[];
  readonly #limit: number;
  readonly #since: { since?: string };
  readonly #listeners = new Set<{ readonly call: () => void }>();
  readonly #schedule: Schedule;
  #snapshot = NO_EVENTS;
  #next = NO_EVENTS;
  #events: HubEvent[] = [];
  #stop: (() => void) | undefined;

  constructor(hub: Hub, path: string | readonly string[], { limit = 100, since }: RecentEventsOptions) {
    this.#hub = hub;
    this.#path = path;
    this.#limit = limit;
    this.#since = since === undefined ? {} : { since };
    this.#schedule = makeSchedule(() => this.#publish());
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    const entry = { call: listener }; // one function may be subscribed twice
    this.#listeners.add(entry);
    if (this.#stop === undefined) this.#start();
    return () => {
      if (!this.#listeners.delete(entry) || this.#listeners.size > 0) return;
      this.#stop?.();
      this.#stop = undefined;
      this.#schedule.cancel();
    };
  };

  readonly getSnapshot = (): RecentEvents => this.#snapshot;

  readonly getServerSnapshot = (): RecentEvents => NO_EVENTS;

  #start(): void {
    this.#events = [];
    this.#next = NO_EVENTS;
    this.#stop = this.#hub.watch(this.#path, (item) => this.#take(item), this.#since);
  }

  #take(item: WatchItem): void {
    if ("position" in item) {
      this.#events.push(item);
      if (this.#events.length > 2 * this.#limit) this.#events = this.#events.slice(-this.#limit);
    } else if (item.type === "channel:gap") this.#next = { ...this.#next, gaps: this.#next.gaps + 1 };
    else if (item.type === "channel:live") this.#next = { ...this.#next, live: true };
    this.#schedule.request();
  }

  #publish(): void {
    this.#snapshot = { ...this.#next, events: this.#events.slice(-this.#limit) };
    for (const { call } of [...this.#listeners]) callSafely(call);
  }
}

/** The events of one filter, live: subscribes, reads the log where the reader goes back, and hands rows to the page. */

import { type ReadonlySignal, signal } from "@preact/signals";
import type { Hub, WatchItem } from "tidings";
import { type EventFilter, type KeyFields, type LoggedEvent, matcherOf, pathsOf } from "./filter.ts";
import { Rate } from "./rate.ts";
import { type HistoryAnswer, type Reading, type Request, readEarlier, readEvents } from "./reader.ts";
import { type EarlierRow, type OmittedRow, Tail, type TailMode, type TailRow } from "./tail.ts";

/** Milliseconds between two changes of the page. */
const TICK_MS = 250;
/** Events that one press reads from the log: what a page can hold beside those that are there. */
export const READ_AT_A_TIME = 1_000;
/** Events with which a page opens: a few screens. */
export const READ_AT_FIRST = 200;

/** What a feed needs of a client. */
export type FeedHub = Pick<Hub, "watch" | "request">;

/** Where a feed begins. */
export type Beginning =
  /** With the newest events after a time, or after `first`; earlier ones can be read from the last row. */
  | { readonly at: "newest"; readonly after: string }
  /** With new events. */
  | { readonly at: "now" }
  /** Behind a position or time, from which the log is read forward, paused. */
  | { readonly at: "position"; readonly after: string };

/** What happened to the feed that the reader must know. */
export interface FeedProblem {
  /** What could not be done: `read the log`. */
  readonly what: string;
  readonly error: unknown;
}

/** The live events of one filter. */
export class Feed {
  readonly #hub: FeedHub;
  readonly #filter: EventFilter;
  readonly #matches: (event: LoggedEvent) => boolean;
  readonly #clock: () => number;
  readonly #tail = new Tail();
  readonly #rate = new Rate();
  readonly #abort = new AbortController();
  #unwatch: () => void = () => {};
  #timer: ReturnType<typeof setInterval> | undefined;

  readonly #rows = signal<readonly TailRow[]>([]);
  readonly #mode = signal<TailMode>("following");
  readonly #waiting = signal<number | null>(0);
  readonly #perSecond = signal<number | null>(null);
  readonly #problem = signal<FeedProblem | null>(null);
  readonly #isOpen = signal(false);
  /** Where the newest events begin that are read when the hub has said where it stands; null when they are. */
  #newestAfter: string | null = null;
  /** Whether the page is open when those are read, and not before. */
  #opensWhenRead = false;
  readonly #isHeld = signal(false);
  #isResting = false;
  /** Whether it followed before it rested. */
  #isFollowing = false;
  readonly #busy = signal<ReadonlySet<TailRow>>(new Set());

  /**
   * @param hub - The client.
   * @param filter - What to show.
   * @param keys - Returns the key of each type, by the hub's contract, as far as it is known.
   * @param clock - A steady clock in milliseconds.
   */
  constructor(
    hub: FeedHub,
    filter: EventFilter,
    keys?: () => KeyFields,
    clock: () => number = () => performance.now(),
  ) {
    this.#hub = hub;
    this.#filter = filter;
    this.#matches = matcherOf(filter, keys);
    this.#clock = clock;
  }

  /** The rows, the newest first. */
  get rows(): ReadonlySignal<readonly TailRow[]> {
    return this.#rows;
  }

  /** Whether new events come in, wait, or are being read. */
  get mode(): ReadonlySignal<TailMode> {
    return this.#mode;
  }

  /** Events that wait since the pause; null where it is not known how many. */
  get waiting(): ReadonlySignal<number | null> {
    return this.#waiting;
  }

  /** Matching events per second; null at first. */
  get perSecond(): ReadonlySignal<number | null> {
    return this.#perSecond;
  }

  get problem(): ReadonlySignal<FeedProblem | null> {
    return this.#problem;
  }

  /** Whether the hub has accepted the subscription and the newest events are read: the page can say that there are none. */
  get isOpen(): ReadonlySignal<boolean> {
    return this.#isOpen;
  }

  /** Rows in whose place the log is being read. */
  get busy(): ReadonlySignal<ReadonlySet<TailRow>> {
    return this.#busy;
  }

  /** Begin. */
  start(beginning: Beginning): void {
    this.#timer = setInterval(this.#tick, TICK_MS);
    if (beginning.at === "newest") this.#newestAfter = beginning.after;
    this.#opensWhenRead = beginning.at === "newest";
    this.#watch("now");
    if (beginning.at !== "position") return;
    this.#tail.beginAt(beginning.after);
    this.#publish();
    void this.readOn();
  }

  /** End for good. */
  stop(): void {
    clearInterval(this.#timer);
    this.#unwatch();
    this.#abort.abort();
  }

  /** Keep what is shown; new events are counted. */
  pause(): void {
    this.#isHeld.value = false;
    this.#tail.pause();
    this.#publish();
  }

  /** Keep what is shown while `held`: the pointer or the focus is in the list, or it is scrolled. */
  hold(held: boolean): void {
    if (held && this.#tail.mode === "following") {
      this.#tail.pause();
      this.#isHeld.value = true;
      this.#publish();
    } else if (!held && this.#isHeld.peek()) {
      this.#isHeld.value = false;
      void this.goOn();
    }
  }

  /** Leave the hub alone while nobody looks. Afterwards what came is read, as much as can be at a time, or named. */
  rest(isHidden: boolean): void {
    const { mode } = this.#tail;
    if (isHidden === this.#isResting || !this.#isOpen.peek() || mode === "reading") return;
    this.#isResting = isHidden;
    if (isHidden) {
      this.#isFollowing = mode === "following";
      this.#tail.rest();
      this.#unwatch();
    } else {
      this.#watch("now");
      if (this.#isFollowing) void this.#readOn(true);
    }
    this.#publish();
  }

  /** Whether the pause ends by itself, with the hold. */
  get isHeld(): ReadonlySignal<boolean> {
    return this.#isHeld;
  }

  /** Follow again. What waits is read first, or named in a row if it is more than can be read at a time. */
  async goOn(): Promise<void> {
    this.#isHeld.value = false;
    const { waiting } = this.#tail;
    if (this.#tail.mode !== "paused") return;
    if (waiting === null || waiting > READ_AT_A_TIME) this.#followFrom(null);
    else if (waiting === 0) this.#followFrom(null);
    else await this.#readOn(true);
  }

  /** Read the next events behind the pause, and stay paused unless that were all. */
  async readOn(): Promise<void> {
    await this.#readOn(false);
  }

  async #readOn(isGoingOn: boolean): Promise<void> {
    if (this.#tail.mode !== "paused") return;
    this.#isHeld.value = false;
    this.#tail.beginReading();
    this.#publish();
    const reading = await this.#read({ after: this.#tail.resumeFrom, until: null });
    if (this.#abort.signal.aborted) return;
    if (reading === null) this.#tail.stopReading();
    else {
      this.#tail.takeRead(reading.events, reading.next, reading.gap);
      if (reading.done) this.#followFrom(reading.next);
      else if (isGoingOn) this.#followFrom(null);
      else this.#tail.stopReading();
    }
    this.#publish();
  }

  /** Follow: from a position that was read up to, or from now, with a row for what waits. */
  #followFrom(position: string | null): void {
    this.#tail.follow(position === null);
    if (position !== null) this.#watch(position);
    this.#publish();
  }

  /** Read the events of a row that names them, as many as can be read at a time. */
  async open(row: OmittedRow | EarlierRow): Promise<void> {
    if (this.#busy.value.has(row)) return;
    this.#busy.value = new Set([...this.#busy.value, row]);
    if (row.kind === "earlier") await this.#readBack(row, READ_AT_A_TIME);
    else await this.#fill(row);
    this.#busy.value = new Set([...this.#busy.value].filter((each) => each !== row));
    this.#publish();
  }

  async #fill(row: OmittedRow): Promise<void> {
    if (this.#tail.mode === "following") this.pause();
    const reading = await this.#read({ after: row.after, until: row.until, beyond: this.#positionsAbove(row) });
    if (reading !== null) this.#tail.fill(row, reading.events, reading.done ? null : reading.next);
  }

  async #readBack(range: { readonly after: string; readonly until: string }, limit: number): Promise<void> {
    const reading = await this.#attempt((request) =>
      readEarlier(request, this.#filter, range, limit, this.#abort.signal),
    );
    if (this.#abort.signal.aborted) return;
    this.#tail.nameEarlier(range.after, range.until);
    if (reading !== null) this.#tail.takeEarlier(reading.events, reading.earlier, reading.gap);
  }

  /** Read the newest events up to where the subscription begins. */
  async #readNewest(after: string, until: string): Promise<void> {
    await this.#readBack({ after, until }, READ_AT_FIRST);
    this.#isOpen.value = true;
    this.#publish();
  }

  #positionsAbove(row: OmittedRow): ReadonlySet<string> {
    const rows = this.#tail.rows;
    const above = rows.slice(0, Math.max(0, rows.indexOf(row)));
    return new Set(above.flatMap((each) => (each.kind === "event" ? [each.event.position] : [])));
  }

  #read(range: Parameters<typeof readEvents>[2]): Promise<Reading | null> {
    return this.#attempt((request) => readEvents(request, this.#filter, range, READ_AT_A_TIME, this.#abort.signal));
  }

  /** Read the log; null, with the reason in `problem`, if that failed. */
  async #attempt<T>(read: (request: Request) => Promise<T>): Promise<T | null> {
    try {
      const reading = await read((path, signal) => this.#hub.request<HistoryAnswer>(path, { signal }));
      this.#problem.value = null;
      return this.#abort.signal.aborted ? null : reading;
    } catch (error) {
      if (!this.#abort.signal.aborted) this.#problem.value = { what: "read the log", error };
      return null;
    }
  }

  #watch(since: string): void {
    this.#unwatch();
    // A callback of the subscription before may still be on its way.
    let isCurrent = true;
    const stop = this.#hub.watch(
      pathsOf(this.#filter),
      (item) => {
        if (isCurrent) this.#take(item);
      },
      { since },
    );
    this.#unwatch = () => {
      isCurrent = false;
      stop();
    };
  }

  #take(item: WatchItem): void {
    switch (item.type) {
      case "channel:subscribed":
      case "channel:live":
        this.#stands((item.data as { position: string }).position);
        return;
      case "channel:gap":
        this.#tail.takeGap(item.data as { reason: string; after: string; until: string });
        return;
      case "client:overflow":
        this.#tail.takeOverflow(item.data as { after: string; until: string });
        return;
      default:
        if ("position" in item) this.#takeEvent(item);
    }
  }

  #stands(position: string): void {
    this.#tail.reached(position);
    const after = this.#newestAfter;
    if (after === null) {
      if (!this.#opensWhenRead) this.#isOpen.value = true;
      return;
    }
    this.#newestAfter = null;
    void this.#readNewest(after, position);
  }

  #takeEvent(event: LoggedEvent): void {
    const matches = this.#matches(event);
    if (matches) this.#rate.add(this.#clock());
    this.#tail.take(event, matches);
  }

  readonly #tick = (): void => {
    this.#tail.tick();
    this.#publish();
  };

  #publish(): void {
    this.#rows.value = this.#tail.rows;
    this.#mode.value = this.#tail.mode;
    this.#waiting.value = this.#tail.waiting;
    this.#perSecond.value = this.#rate.perSecond(this.#clock());
  }
}

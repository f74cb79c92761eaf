/** The events of one filter, live: subscribes, reads the log where the reader goes back, and hands rows to the page. */

import { type ReadonlySignal, signal } from "@preact/signals";
import type { Hub, WatchItem } from "tidings";
import { type EventFilter, type KeyFields, type LoggedEvent, matcherOf, pathsOf } from "./filter.ts";
import { Rate } from "./rate.ts";
import { type HistoryAnswer, type Reading, readEvents } from "./reader.ts";
import { type OmittedRow, Tail, type TailMode, type TailRow } from "./tail.ts";

/** Milliseconds between two changes of the page. */
const TICK_MS = 250;
/** Events that one press reads from the log: what a page can hold beside those that are there. */
export const READ_AT_A_TIME = 1_000;

/** What a feed needs of a client. */
export type FeedHub = Pick<Hub, "watch" | "request">;

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
  readonly #isHeld = signal(false);
  readonly #busy = signal<ReadonlySet<OmittedRow>>(new Set());

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

  /** Whether the hub has accepted the subscription: without events, the page can say that there are none. */
  get isOpen(): ReadonlySignal<boolean> {
    return this.#isOpen;
  }

  /** Omitted rows that are being read. */
  get busy(): ReadonlySignal<ReadonlySet<OmittedRow>> {
    return this.#busy;
  }

  /**
   * Begin.
   *
   * @param since - Where to begin: "" for new events, or a position or time from which to read, paused.
   */
  start(since: string): void {
    this.#timer = setInterval(this.#tick, TICK_MS);
    this.#watch("now");
    if (since === "") return;
    this.#tail.beginAt(since);
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

  /** Read the events of an omitted row, as many as can be read at a time. */
  async open(row: OmittedRow): Promise<void> {
    if (this.#busy.value.has(row)) return;
    this.#busy.value = new Set([...this.#busy.value, row]);
    if (this.#tail.mode === "following") this.pause();
    const reading = await this.#read({ after: row.after, until: row.until, beyond: this.#positionsAbove(row) });
    if (reading !== null) this.#tail.fill(row, reading.events, reading.done ? null : reading.next);
    this.#busy.value = new Set([...this.#busy.value].filter((each) => each !== row));
    this.#publish();
  }

  #positionsAbove(row: OmittedRow): ReadonlySet<string> {
    const rows = this.#tail.rows;
    const above = rows.slice(0, Math.max(0, rows.indexOf(row)));
    return new Set(above.flatMap((each) => (each.kind === "event" ? [each.event.position] : [])));
  }

  async #read(range: Parameters<typeof readEvents>[2]): Promise<Reading | null> {
    try {
      const request = (path: string, signal: AbortSignal) => this.#hub.request<HistoryAnswer>(path, { signal });
      const reading = await readEvents(request, this.#filter, range, READ_AT_A_TIME, this.#abort.signal);
      this.#problem.value = null;
      return reading;
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
        this.#isOpen.value = true;
        this.#tail.reached((item.data as { position: string }).position);
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

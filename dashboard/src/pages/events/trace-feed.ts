/** The events of one trace: all that the log holds, and those that come while something of it still runs. */

import { type ReadonlySignal, signal } from "@preact/signals";
import type { WatchItem } from "tidings";
import type { FeedHub } from "./feed.ts";
import { EVERYTHING, type LoggedEvent } from "./filter.ts";
import { type HistoryAnswer, readEvents } from "./reader.ts";
import { layOutTrace } from "./trace.ts";

/** Events that are shown; a longer trace is shown up to here, and says so. */
export const MAX_EVENTS = 5_000;
/** Milliseconds between two changes of the page. */
const TICK_MS = 250;

/** What is known of a trace. */
export interface TraceState {
  /** The events in log order. */
  readonly events: readonly LoggedEvent[];
  /** `reading` at first, `live` while new events come in, `ended` when none of it is still running. */
  readonly phase: "reading" | "live" | "ended";
  /** True: the trace has more events than are shown. */
  readonly isCut: boolean;
  /** True: the hub no longer has its beginning. */
  readonly isTrimmed: boolean;
  readonly error: unknown;
}

/** The events of one trace. */
export class TraceFeed {
  readonly #hub: FeedHub;
  readonly #id: string;
  readonly #abort = new AbortController();
  readonly #state = signal<TraceState>({
    events: [],
    phase: "reading",
    isCut: false,
    isTrimmed: false,
    error: undefined,
  });
  #staged: LoggedEvent[] = [];
  #unwatch: () => void = () => {};
  #timer: ReturnType<typeof setInterval> | undefined;

  /**
   * @param hub - The client.
   * @param id - The trace id.
   */
  constructor(hub: FeedHub, id: string) {
    this.#hub = hub;
    this.#id = id;
  }

  get state(): ReadonlySignal<TraceState> {
    return this.#state;
  }

  /** Read the trace, and follow it while it lives. */
  async start(): Promise<void> {
    const request = (path: string, signal: AbortSignal) => this.#hub.request<HistoryAnswer>(path, { signal });
    try {
      const filter = { ...EVERYTHING, trace: this.#id };
      const range = { after: "first", until: null };
      const reading = await readEvents(request, filter, range, MAX_EVENTS, this.#abort.signal);
      if (this.#abort.signal.aborted) return;
      const { events, done, gap, next } = reading;
      const phase = done && livesOn(events) ? "live" : "ended";
      this.#state.value = { events, phase, isCut: !done, isTrimmed: gap !== undefined, error: undefined };
      if (phase === "live") this.#follow(next);
    } catch (error) {
      if (!this.#abort.signal.aborted) this.#state.value = { ...this.#state.value, phase: "ended", error };
    }
  }

  /** End for good. */
  stop(): void {
    this.#abort.abort();
    this.#leave();
  }

  #leave(): void {
    clearInterval(this.#timer);
    this.#unwatch();
  }

  #follow(since: string): void {
    this.#staged = [];
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    const take = (item: WatchItem) => {
      if ("position" in item && item.trace_id === this.#id) this.#staged.push(item);
      else if (item.type === "channel:gap") {
        // Ends may be among what is missing, or the hub has another log by now: what it holds is read again.
        this.#leave();
        void this.start();
      }
    };
    this.#unwatch = this.#hub.watch(["*"], take, { since });
  }

  #tick(): void {
    if (this.#staged.length === 0) return;
    const known = this.#state.value;
    const events = [...known.events, ...this.#staged].slice(0, MAX_EVENTS);
    const isCut = known.events.length + this.#staged.length > MAX_EVENTS;
    this.#staged = [];
    const phase = !isCut && livesOn(events) ? "live" : "ended";
    this.#state.value = { ...known, events, phase, isCut };
    if (phase === "ended") this.#leave();
  }
}

/** Whether something of a trace has begun and not ended. */
function livesOn(events: readonly LoggedEvent[]): boolean {
  return layOutTrace(events, null).isLive;
}

/** What the page of one operation knows: the live row of the client's store, and the details of the hub. */

import { computed, effect, type ReadonlySignal, signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { toMillis } from "../../format/time.ts";
import { connection, hub, isStale } from "../../hub.ts";
import { merge, NO_DETAILS, type OperationDetail, readDetail } from "./detail.ts";
import { liveRow } from "./live-row.ts";
import { ProgressHistory } from "./progress-series.ts";

/** Least time between two requests for the details, and between two drawings of new progress, in milliseconds. */
const RELOAD_MS = 1_000;
/** Events of progress that are read when the page is opened: the hub keeps those of the last minute. */
const PROGRESS_EVENTS = 1_000;

export interface OperationData {
  /** The operation as it is now; undefined until it was read, or is known from a list while the hub cannot be asked. */
  readonly detail: ReadonlySignal<OperationDetail | undefined>;
  /** Whether all of it was read, and not only its row. */
  readonly isWhole: ReadonlySignal<boolean>;
  /** Why it could not be read; undefined if it was. */
  readonly error: ReadonlySignal<unknown>;
  readonly history: ProgressHistory;
  /** Changes when there are new points of progress, at most once a second. */
  readonly progressed: ReadonlySignal<number>;
  readonly reload: () => void;
}

/** The data of an operation while a component is shown. */
export function useOperationData(id: string): OperationData {
  const { data, begin } = useMemo(() => makeData(id), [id]);
  useEffect(begin, [begin]);
  return data;
}

function makeData(id: string): { readonly data: OperationData; readonly begin: () => () => void } {
  const live = liveRow(id);
  const read = signal<OperationDetail | undefined>(undefined);
  const error = signal<unknown>(undefined);
  const progressed = signal(0);
  const history = new ProgressHistory();
  const isWhole = computed(() => read.value !== undefined);
  const detail = computed(() => {
    if (isWhole.value || (error.value === undefined && !isStale.value)) return merge(read.value, live.value);
    return live.value && { ...live.value, ...NO_DETAILS };
  });
  const wanted = signal(0);
  const reload = () => {
    wanted.value += 1;
  };
  const begin = () => {
    const ending = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const showSoon = () => {
      timer ??= setTimeout(() => {
        timer = undefined;
        progressed.value = history.version;
      }, RELOAD_MS);
    };
    const reader = new DetailReader(id, ending.signal, (found, fault) => {
      if (found !== undefined) read.value = found;
      error.value = fault;
    });
    // Everything that the live row does not bring changes with these.
    const trigger = computed(() => {
      const row = live.value;
      const isLinked = connection.value.state === "live";
      const place = `${row?.state} ${row?.attempt} ${row?.current_step} ${row?.presence}`;
      return `${place} ${row?.started_at} ${isLinked} ${wanted.value}`;
    });
    const stopReading = effect(() => {
      void trigger.value;
      reader.request();
    });
    const stopSeeing = effect(() => {
      const row = live.value;
      if (row?.progress !== undefined && row.indeterminate !== true) {
        history.add({ attempt: row.attempt, at: toMillis(row.heard_at) ?? Number.NaN, percent: row.progress });
      }
      if (history.version !== progressed.peek()) showSoon();
    });
    void readProgress(id, history, ending.signal).then(showSoon);
    return () => {
      ending.abort();
      stopReading();
      stopSeeing();
      clearTimeout(timer);
    };
  };
  return { data: { detail, isWhole, error, history, progressed, reload }, begin };
}

/** Reads the details again and again: one request at a time, a pause between two, none while the page is hidden. */
class DetailReader {
  readonly #id: string;
  readonly #signal: AbortSignal;
  readonly #done: (detail: OperationDetail | undefined, error: unknown) => void;
  #isWanted = false;
  #isBusy = false;

  constructor(id: string, signal: AbortSignal, done: (detail: OperationDetail | undefined, error: unknown) => void) {
    this.#id = id;
    this.#signal = signal;
    this.#done = done;
  }

  request(): void {
    this.#isWanted = true;
    if (!this.#isBusy) void this.#run();
  }

  async #run(): Promise<void> {
    this.#isBusy = true;
    while (this.#isWanted && !this.#signal.aborted) {
      await whenVisible(this.#signal);
      this.#isWanted = false;
      try {
        this.#done(await readDetail(hub, this.#id, this.#signal), undefined);
      } catch (error) {
        if (!this.#signal.aborted) this.#done(undefined, error);
      }
      await new Promise((done) => setTimeout(done, RELOAD_MS));
    }
    this.#isBusy = false;
  }
}

function whenVisible(signal: AbortSignal): Promise<void> {
  if (document.visibilityState === "visible") return Promise.resolve();
  return new Promise((done) => {
    const seen = new AbortController();
    const finish = () => {
      if (document.visibilityState === "hidden" && !signal.aborted) return;
      seen.abort();
      done();
    };
    document.addEventListener("visibilitychange", finish, { signal: seen.signal });
    signal.addEventListener("abort", finish, { signal: seen.signal });
  });
}

/** Reads the progress that the hub still has, so that the curve of a running operation does not begin at this moment. */
async function readProgress(id: string, history: ProgressHistory, signal: AbortSignal): Promise<void> {
  const query = new URLSearchParams({
    channel: "operations",
    key: id,
    limit: String(PROGRESS_EVENTS),
  });
  query.append("type", "operation:start");
  query.append("type", "operation:progress");
  try {
    const { events } = await hub.request<{ events: readonly ProgressEvent[] }>(`v1/events?${query}`, { signal });
    let attempt = 1;
    for (const { timestamp, data } of events) {
      attempt = data.attempt ?? attempt;
      if (data.indeterminate === true || typeof data.progress !== "number") continue;
      history.add({ attempt, at: Date.parse(timestamp), percent: data.progress });
    }
  } catch {
    // The curve then begins with what this page sees.
  }
}

interface ProgressEvent {
  readonly timestamp: string;
  readonly data: { readonly progress?: unknown; readonly indeterminate?: unknown; readonly attempt?: number };
}

/** Reads the log of one operation from the hub, and follows it, into a `LogModel`. */

import type { Hub, WatchItem } from "tidings";
import { lineOf, readHistory } from "./log-history.ts";
import type { LogModel, LogRecord } from "./log-model.ts";

/** What is known about the log besides its lines. */
export interface LogStatus {
  /** `reading` until the kept lines are there. */
  readonly state: "reading" | "following" | "failed";
  /** Whether the hub has removed older lines. */
  readonly isTrimmed: boolean;
  readonly error: unknown;
}

export const READING: LogStatus = { state: "reading", isTrimmed: false, error: undefined };

/** New lines that may wait for the next frame. */
const MAX_WAITING = 2_000;

/** What a source needs of the page. */
export interface LogHost {
  /** Called after the model or the status has changed. */
  changed(status: LogStatus): void;
  /** Runs a function before the next frame, or soon while the page is hidden. */
  schedule(run: () => void): void;
}

/**
 * Fills `model` with the kept lines of an operation, then with each new one.
 *
 * @returns a function that ends it.
 */
export function followLog(hub: Pick<Hub, "request" | "watch">, id: string, model: LogModel, host: LogHost): () => void {
  const ending = new AbortController();
  let status = READING;
  const report = (changes: Partial<LogStatus>) => {
    status = { ...status, ...changes };
    if (!ending.signal.aborted) host.changed(status);
  };
  const run = async () => {
    const kept = await readHistory(hub, id, ending.signal, (lines) => model.append(lines));
    if (ending.signal.aborted) return;
    report({ state: "following", isTrimmed: kept.isTrimmed });
    const sink = new LiveLines(id, model, kept.attempt, host, () => report({}));
    hub.watch(`operations/${id}`, (item) => sink.take(item), { since: kept.position, signal: ending.signal });
  };
  run().catch((error: unknown) => report({ state: "failed", error }));
  return () => ending.abort();
}

/** Collects live lines until the next frame. */
class LiveLines {
  readonly #id: string;
  readonly #model: LogModel;
  readonly #host: LogHost;
  readonly #report: () => void;
  #attempt: number;
  #waiting: LogRecord[] = [];
  #isScheduled = false;

  constructor(id: string, model: LogModel, attempt: number, host: LogHost, report: () => void) {
    this.#id = id;
    this.#model = model;
    this.#attempt = attempt;
    this.#host = host;
    this.#report = report;
  }

  take(item: WatchItem): void {
    if (item.type === "channel:gap") this.#gap(undefined);
    else if (item.type === "client:overflow") this.#gap((item.data as { dropped?: number }).dropped);
    else if ("position" in item) this.#event(item.type, item);
  }

  #event(type: string, event: { position: string; timestamp: string; data: unknown }): void {
    const data = event.data as { operation_id?: unknown; attempt?: unknown; level?: unknown; message?: unknown } | null;
    if (data === null || typeof data !== "object" || data.operation_id !== this.#id) return;
    if (typeof data.attempt === "number" && data.attempt > 0) this.#attempt = data.attempt;
    // After a gap the hub repeats the newest line.
    if (type !== "operation:log" || event.position === (this.#waiting.at(-1)?.position ?? this.#model.newest)) return;
    this.#waiting.push(lineOf(event.position, event.timestamp, data, this.#attempt));
    if (this.#waiting.length >= MAX_WAITING) this.#flush();
    else this.#schedule();
  }

  #gap(lines: number | undefined): void {
    this.#flush();
    this.#model.appendGap(lines);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#host.schedule(() => {
      this.#isScheduled = false;
      this.#flush();
      this.#report();
    });
  }

  #flush(): void {
    const lines = this.#waiting;
    this.#waiting = [];
    this.#model.append(lines);
  }
}

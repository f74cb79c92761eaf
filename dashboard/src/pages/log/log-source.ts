/** Reads the log of one operation from the hub, and follows it, into a `LogModel`. */

import { type Hub, HubError, type WatchItem } from "tidings";
import { type KeptLines, readHistory } from "./log-history.ts";
import type { LogModel, LogRecord } from "./log-model.ts";

/** One line in the answer of `GET /v1/operation-log`. */
interface LineView {
  readonly position: string;
  readonly at: string;
  readonly level: string;
  readonly message: string;
  readonly attempt?: number;
}

/** Answer of `GET /v1/operation-log`. */
interface LogPage {
  readonly lines: readonly LineView[];
  readonly next?: string;
  readonly position: string;
  readonly trimmed?: boolean;
}

/** What is known about the log besides its lines. */
export interface LogStatus {
  /** `reading` until the kept lines are there, `reading-on` while some of them are. */
  readonly state: "reading" | "following" | "failed";
  /** Whether the hub has removed older lines. */
  readonly isTrimmed: boolean;
  /** Whether the hub keeps lines that this page did not read, because they are too large. */
  readonly isPartial: boolean;
  readonly error: unknown;
}

export const READING: LogStatus = { state: "reading", isTrimmed: false, isPartial: false, error: undefined };

/** Lines of one request; the hub's maximum. */
const PAGE_LINES = 1_000;
/** Characters of messages that are read when the page is opened. */
const MAX_CHARACTERS = 8_000_000;
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
    const kept = await readKept(hub, id, ending.signal).catch((error: unknown) => {
      if (error instanceof HubError && error.code === "not_found") return readHistory(hub, id, ending.signal);
      throw error;
    });
    if (ending.signal.aborted) return;
    model.append(kept.lines);
    report({ state: "following", isTrimmed: kept.isTrimmed, isPartial: kept.isPartial });
    const sink = new LiveLines(id, model, kept.lines.at(-1)?.attempt ?? 1, host, () => report({}));
    hub.watch(`operations/${id}`, (item) => sink.take(item), { since: kept.position, signal: ending.signal });
  };
  run().catch((error: unknown) => report({ state: "failed", error }));
  return () => ending.abort();
}

/** The kept lines, oldest first; of very large ones only the newest. */
async function readKept(hub: Pick<Hub, "request">, id: string, signal: AbortSignal): Promise<KeptLines> {
  const newestFirst: LogRecord[] = [];
  let characters = 0;
  let position = "now";
  let isTrimmed = false;
  let next: string | undefined;
  do {
    const query = new URLSearchParams({ operation_id: id, order: "desc", limit: String(PAGE_LINES) });
    if (next !== undefined) query.set("after", next);
    const page: LogPage = await hub.request<LogPage>(`v1/operation-log?${query}`, { signal });
    if (next === undefined) position = page.position;
    for (const { at, attempt, ...line } of page.lines) {
      newestFirst.push({ ...line, at: Date.parse(at), attempt: attempt ?? 1 });
      characters += line.message.length;
    }
    isTrimmed ||= page.trimmed === true;
    next = page.next;
  } while (next !== undefined && characters < MAX_CHARACTERS);
  return { lines: newestFirst.reverse(), position, isTrimmed, isPartial: next !== undefined };
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
    this.#waiting.push({
      position: event.position,
      at: Date.parse(event.timestamp),
      level: typeof data.level === "string" ? data.level : "info",
      message: typeof data.message === "string" ? data.message : "",
      attempt: this.#attempt,
    });
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

/** The kept lines of an operation, read from the history of its events: what every hub serves. */

import type { Hub } from "tidings";
import type { LogRecord } from "./log-model.ts";

/** Events of one request; the hub's maximum. */
const PAGE_EVENTS = 1_000;

/** The kept lines of a log. */
export interface KeptLines {
  /** Oldest first. */
  readonly lines: LogRecord[];
  /** Where to follow the log from. */
  readonly position: string;
  /** Whether the hub has removed older lines. */
  readonly isTrimmed: boolean;
  /** Whether the hub keeps lines that were not read, because they are too large. */
  readonly isPartial: boolean;
}

/** Answer of `GET /v1/events`. */
interface EventsPage {
  readonly events: readonly HistoryEvent[];
  readonly next: string;
  readonly position: string;
  readonly gap?: unknown;
}

interface HistoryEvent {
  readonly type: string;
  readonly timestamp: string;
  readonly position: string;
  readonly data: { readonly attempt?: number; readonly level?: string; readonly message?: string };
}

/** Reads the lines forwards; a line belongs to the attempt that started before it. */
export async function readHistory(hub: Pick<Hub, "request">, id: string, signal: AbortSignal): Promise<KeptLines> {
  const lines: LogRecord[] = [];
  let since = "first";
  let isTrimmed = false;
  let attempt = 1;
  while (true) {
    const page = await hub.request<EventsPage>("v1/events", {
      signal,
      query: { channel: "operations", key: id, type: ["operation:start", "operation:log"], since, limit: PAGE_EVENTS },
    });
    for (const { type, timestamp, position, data } of page.events) {
      attempt = data.attempt ?? attempt;
      if (type !== "operation:log") continue;
      const { level = "info", message = "" } = data;
      lines.push({ position, at: Date.parse(timestamp), level, message, attempt });
    }
    isTrimmed ||= page.gap !== undefined;
    since = page.next;
    if (page.next === page.position) return { lines, position: page.position, isTrimmed, isPartial: false };
  }
}

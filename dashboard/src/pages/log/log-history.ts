/** The kept lines of an operation, read from the history of its events. */

import type { Hub } from "tidings";
import type { LogRecord } from "./log-model.ts";

/** Events of one request; the hub's maximum. */
const PAGE_EVENTS = 1_000;

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
  readonly data: (LineData & { readonly attempt?: number }) | null;
}

interface LineData {
  readonly level?: unknown;
  readonly message?: unknown;
}

/** What is known after the kept lines were read. */
export interface KeptLines {
  /** Where to follow the log from. */
  readonly position: string;
  /** Attempt of the next line that names none. */
  readonly attempt: number;
  /** Whether the hub has removed older lines. */
  readonly isTrimmed: boolean;
}

/**
 * Reads the kept lines of an operation, the oldest first; a line belongs to the attempt that started before it.
 *
 * @param take - Called with the lines of each answer, so that no more than one answer is held.
 */
export async function readHistory(
  hub: Pick<Hub, "request">,
  id: string,
  signal: AbortSignal,
  take: (lines: readonly LogRecord[]) => void,
): Promise<KeptLines> {
  let since = "first";
  let isTrimmed = false;
  let attempt = 1;
  while (true) {
    const page = await hub.request<EventsPage>("v1/events", {
      signal,
      query: { channel: "operations", key: id, type: ["operation:start", "operation:log"], since, limit: PAGE_EVENTS },
    });
    const lines: LogRecord[] = [];
    for (const { type, timestamp, position, data } of page.events) {
      attempt = data?.attempt ?? attempt;
      if (type === "operation:log") lines.push(lineOf(position, timestamp, data, attempt));
    }
    take(lines);
    isTrimmed ||= page.gap !== undefined;
    since = page.next;
    if (page.next === page.position) return { position: page.position, attempt, isTrimmed };
  }
}

/** A line from the data of its event, which a log of another contract may hold in any form. */
export function lineOf(position: string, timestamp: string, data: LineData | null, attempt: number): LogRecord {
  const { level, message } = data ?? {};
  return {
    position,
    at: Date.parse(timestamp),
    level: typeof level === "string" ? level : "info",
    message: typeof message === "string" ? message : "",
    attempt,
  };
}

/** The rows of a log as they are drawn: lines, and what stands between them. Also their text, for a file. */

import { counted, ordinal } from "../../format/span.ts";
import type { LogEntry, LogLine } from "./log-model.ts";
import type { LogStatus } from "./log-source.ts";

/** A remark between lines: where an attempt begins, or what is missing. */
export interface LogRemark {
  readonly kind: "remark";
  readonly key: string;
  readonly text: string;
}

export type LogRow = LogLine | LogRemark;

/** Lines that a hub keeps of each operation (docs/protocol/events.md, `operation:log`). */
const KEPT_LINES = 1_000;

/** The rows for filtered entries, with a divider where another attempt begins. */
export function rowsOf(entries: readonly LogEntry[], top: string): readonly LogRow[] {
  const rows: LogRow[] = top === "" ? [] : [{ kind: "remark", key: "top", text: top }];
  let attempt: number | undefined;
  for (const entry of entries) {
    if (entry.kind === "gap") {
      const what = entry.lines === undefined ? "Lines that came here" : counted(entry.lines, "line");
      rows.push({ kind: "remark", key: `gap ${entry.number}`, text: `${what} are not shown` });
      continue;
    }
    if (entry.attempt !== attempt && (attempt !== undefined || entry.attempt > 1)) {
      rows.push({ kind: "remark", key: `attempt ${entry.number}`, text: `${ordinal(entry.attempt)} attempt` });
    }
    attempt = entry.attempt;
    rows.push(entry);
  }
  return rows;
}

/**
 * What is missing at the top; empty if nothing is.
 *
 * @param removed - Lines that this page has dropped from the top.
 */
export function describeTop({ isTrimmed }: LogStatus, removed: number): string {
  if (removed > 0)
    return `${counted(removed, "earlier line")} left this page; the hub keeps the newest ${KEPT_LINES} only`;
  return isTrimmed
    ? `Earlier lines are no longer kept: the hub keeps the newest ${KEPT_LINES.toLocaleString("en-US")}`
    : "";
}

/** Key of a row: it stays with the row, wherever that is. */
export function keyOf(row: LogRow): string | number {
  return row.kind === "line" ? row.number : row.key;
}

/** Text as it was sent, with its control characters as visible symbols (Unicode, "Control Pictures"). */
export function rawText(line: LogLine): string {
  return line.raw.replace(/(?!\n)[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, (character) => {
    const code = character.charCodeAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    return code === 0x7f ? "\u2421" : `<U+${code.toString(16).toUpperCase().padStart(4, "0")}>`;
  });
}

/**
 * Lines as the text of a file.
 *
 * @param isRaw - Messages as they were sent, without time and level; else without escapes.
 */
export function fileText(lines: Iterable<LogLine>, isRaw: boolean, time: (at: number) => string): string {
  const texts: string[] = [];
  for (const line of lines) {
    texts.push(isRaw ? line.raw : `${time(line.at)} ${line.level.padEnd(8)} ${line.text}`);
  }
  return texts.length === 0 ? "" : `${texts.join("\n")}\n`;
}

/** Name of a file for the log of an operation: without characters that a file system gives a meaning. */
export function fileName(operationId: string): string {
  const safe = operationId.replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[.-]+/, "");
  return `${safe.slice(0, 100) || "operation"}.log`;
}

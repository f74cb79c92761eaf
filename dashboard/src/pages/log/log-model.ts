/**
 * The lines of one operation's log, as a page keeps them: bounded, and at rest while someone reads.
 *
 * While the reader follows the end, the oldest lines leave when there are too many. While the reader looks at earlier
 * lines, nothing leaves and nothing moves: beyond the bound only the newest lines are kept aside, and what was dropped
 * between becomes one gap when the reader returns to the end.
 */

import { type AnsiSpan, parseAnsi } from "../../format/ansi.ts";

/** Severities of log lines, the least first. */
export const LEVELS = ["debug", "info", "warning", "error", "critical"] as const;
export type Level = (typeof LEVELS)[number];

/** One line as it came from the hub. */
export interface LogRecord {
  /** Place in the hub's log; names the line in links. */
  readonly position: string;
  /** Time of the line, milliseconds since 1970; NaN if unknown. */
  readonly at: number;
  readonly level: string;
  readonly message: string;
  /** Attempt that wrote the line. */
  readonly attempt: number;
}

/** One line as it is shown. */
export interface LogLine {
  readonly kind: "line";
  /** Number of the line on this page; grows along the log. */
  readonly number: number;
  readonly position: string;
  readonly at: number;
  readonly level: Level;
  readonly attempt: number;
  /** The message as it was sent. */
  readonly raw: string;
  readonly text: string;
  readonly spans: readonly AnsiSpan[];
  /** Refreshes of one bar, this one included: lines that overwrote each other with `\r`. */
  readonly refreshes: number;
}

/** Lines between two others that this page does not hold. */
export interface LogGap {
  readonly kind: "gap";
  readonly number: number;
  /** Number of lines; undefined where no one knows. */
  readonly lines: number | undefined;
}

export type LogEntry = LogLine | LogGap;

export interface LogBounds {
  /** Lines that the page holds; the reader's own place is never dropped. */
  readonly lines: number;
  /** Characters of all messages that the page holds. */
  readonly characters: number;
  /** Newest lines that are kept while the bounds are reached and the reader is at an earlier line. */
  readonly aside: number;
}

/** Defaults: ten times what a hub keeps of an operation, and half of it at 64 KB a line is never reached. */
export const DEFAULT_BOUNDS: LogBounds = { lines: 10_000, characters: 16_000_000, aside: 1_000 };

export class LogModel {
  readonly #bounds: LogBounds;
  #entries: LogEntry[] = [];
  #aside: LogLine[] = [];
  #characters = 0;
  #asideCharacters = 0;
  #dropped = 0;
  #next = 1;
  #following = true;
  #unread = 0;
  #counts = new Map<Level, number>();
  #version = 0;
  #removed = 0;
  #newest = "";

  constructor(bounds: LogBounds = DEFAULT_BOUNDS) {
    this.#bounds = bounds;
  }

  /** The entries in log order, up to the bound; `aside` lines are not among them. The array is replaced on a change. */
  get entries(): readonly LogEntry[] {
    return this.#entries;
  }

  /** Changes with every change of what is shown. */
  get version(): number {
    return this.#version;
  }

  /** Whether the page follows the end of the log. */
  get following(): boolean {
    return this.#following;
  }

  /** Lines that came since the reader left the end. */
  get unread(): number {
    return this.#unread;
  }

  /** Lines that this page has removed from the top. */
  get removed(): number {
    return this.#removed;
  }

  /** Lines of a level that the page holds. */
  count(...levels: Level[]): number {
    return levels.reduce((sum, level) => sum + (this.#counts.get(level) ?? 0), 0);
  }

  /** Position of the newest line; "" without lines. */
  get newest(): string {
    return this.#newest;
  }

  /** All lines that the page holds, those kept aside included. */
  *lines(): IterableIterator<LogLine> {
    for (const entry of this.#entries) if (entry.kind === "line") yield entry;
    yield* this.#aside;
  }

  /** Add lines, oldest first. */
  append(records: readonly LogRecord[]): void {
    if (records.length === 0) return;
    const added: LogLine[] = [];
    let replaced: LogLine | undefined;
    for (const record of records) {
      const last = added.at(-1) ?? replaced ?? this.#last();
      if (isRefresh(record, last)) {
        const line = this.#line(record, last.number, last.refreshes + 1);
        this.#count(last, -1);
        this.#count(line, 1);
        if (added.length > 0) added[added.length - 1] = line;
        else replaced = line;
      } else {
        const line = this.#line(record, this.#next++, 1);
        this.#count(line, 1);
        added.push(line);
        if (!this.#following) this.#unread++;
      }
    }
    this.#newest = records.at(-1)?.position ?? this.#newest;
    if (replaced !== undefined) this.#replaceLast(replaced);
    this.#store(added);
    this.#version++;
  }

  /** Record that lines between those before and those after are missing. */
  appendGap(lines?: number): void {
    this.#entries = [...this.#entries, { kind: "gap", number: this.#next++, lines }];
    this.#version++;
  }

  /** Follow the end, or rest where the reader is. */
  follow(following: boolean): void {
    if (following === this.#following) return;
    this.#following = following;
    this.#unread = 0;
    if (following) {
      if (this.#dropped > 0) this.appendGap(this.#dropped);
      const aside = this.#aside;
      this.#aside = [];
      this.#characters += this.#asideCharacters;
      this.#asideCharacters = this.#dropped = 0;
      if (aside.length > 0) this.#entries = [...this.#entries, ...aside];
      this.#trim();
    }
    this.#version++;
  }

  #last(): LogLine | undefined {
    const last = this.#aside.at(-1) ?? this.#entries.at(-1);
    return last?.kind === "line" ? last : undefined;
  }

  #replaceLast(line: LogLine): void {
    if (this.#aside.length > 0) {
      const old = this.#aside[this.#aside.length - 1];
      this.#asideCharacters += line.raw.length - (old?.raw.length ?? 0);
      this.#aside[this.#aside.length - 1] = line;
      return;
    }
    const old = this.#last();
    this.#characters += line.raw.length - (old?.raw.length ?? 0);
    this.#entries = [...this.#entries.slice(0, -1), line];
  }

  #store(added: LogLine[]): void {
    if (added.length === 0) return;
    const { lines, characters } = this.#bounds;
    let index = 0;
    if (this.#following || this.#aside.length === 0) {
      const room = this.#following ? added.length : Math.max(0, lines - this.#entries.length);
      const taken: LogLine[] = [];
      for (; index < Math.min(room, added.length); index++) {
        const line = added[index] as LogLine;
        if (!this.#following && this.#characters + line.raw.length > characters) break;
        taken.push(line);
        this.#characters += line.raw.length;
      }
      if (taken.length > 0) this.#entries = [...this.#entries, ...taken];
    }
    if (index < added.length) this.#setAside(added.slice(index));
    if (this.#following) this.#trim();
  }

  #setAside(added: LogLine[]): void {
    this.#aside.push(...added);
    this.#asideCharacters += added.reduce((sum, line) => sum + line.raw.length, 0);
    let drop = 0;
    while (drop < this.#aside.length - 1) {
      const tooMany = this.#aside.length - drop > this.#bounds.aside;
      if (!tooMany && this.#asideCharacters <= this.#bounds.characters / 2) break;
      const line = this.#aside[drop++] as LogLine;
      this.#asideCharacters -= line.raw.length;
      this.#count(line, -1);
    }
    this.#dropped += drop;
    this.#aside.splice(0, drop);
  }

  /** Remove the oldest entries beyond the bounds, a tenth at a time, so that a line costs no copy of all others. */
  #trim(): void {
    const { lines, characters } = this.#bounds;
    if (this.#entries.length <= lines && this.#characters <= characters) return;
    const keptLines = Math.ceil(lines * 0.9);
    const keptCharacters = characters * 0.9;
    let drop = 0;
    while (
      drop < this.#entries.length - 1 &&
      (this.#entries.length - drop > keptLines || this.#characters > keptCharacters)
    ) {
      const entry = this.#entries[drop++] as LogEntry;
      if (entry.kind === "line") {
        this.#characters -= entry.raw.length;
        this.#count(entry, -1);
        this.#removed++;
      } else {
        this.#removed += entry.lines ?? 0;
      }
    }
    this.#entries = this.#entries.slice(drop);
  }

  #line(record: LogRecord, number: number, refreshes: number): LogLine {
    const { text, spans } = parseAnsi(record.message);
    const level = LEVELS.find((each) => each === record.level) ?? "info";
    const { position, at, attempt, message: raw } = record;
    return { kind: "line", number, position, at, level, attempt, raw, text, spans, refreshes };
  }

  #count(line: LogLine, by: number): void {
    this.#counts.set(line.level, (this.#counts.get(line.level) ?? 0) + by);
  }
}

/** Whether a line overwrites the one before it: a bar that was sent refresh by refresh, each with its `\r`. */
function isRefresh(record: LogRecord, last: LogLine | undefined): last is LogLine {
  if (last === undefined || last.level !== record.level || last.attempt !== record.attempt) return false;
  const begins = record.message.startsWith("\r");
  return last.raw.endsWith("\r") || (begins && last.raw.startsWith("\r") && !last.raw.endsWith("\n"));
}

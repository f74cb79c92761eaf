/** Filters and finding in the lines of a log: which lines are shown, and where a text occurs in them. */

import { LEVELS, type Level, type LogEntry, type LogLine } from "./log-model.ts";

/** Which lines are shown. Finding is separate: it hides nothing. */
export interface LogFilter {
  /** Least severity. */
  readonly level: Level;
  /** Only this attempt; undefined shows all. */
  readonly attempt: number | undefined;
}

export const ALL_LINES: LogFilter = { level: "debug", attempt: undefined };

/** Return the entries that a filter shows. Gaps are always shown. */
export function filterEntries(entries: readonly LogEntry[], filter: LogFilter): readonly LogEntry[] {
  if (filter.level === "debug" && filter.attempt === undefined) return entries;
  return entries.filter((entry) => entry.kind === "gap" || matches(entry, filter));
}

/** Return whether a filter shows a line. */
export function matches(line: LogLine, { level, attempt }: LogFilter): boolean {
  return LEVELS.indexOf(line.level) >= LEVELS.indexOf(level) && (attempt === undefined || line.attempt === attempt);
}

/** A place where the sought text occurs: UTF-16 offsets in the text of a line. */
export interface Match {
  readonly line: LogLine;
  readonly start: number;
  readonly end: number;
}

/** Most matches that are listed; beyond them, "10,000 or more". */
export const MAX_MATCHES = 10_000;

/** Return where `sought` occurs in the shown lines, in order; upper and lower case are equal. */
export function findMatches(lines: Iterable<LogLine>, sought: string, filter: LogFilter = ALL_LINES): Match[] {
  if (sought === "") return [];
  const pattern = new RegExp(sought.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"), "giu");
  const found: Match[] = [];
  for (const line of lines) {
    if (!matches(line, filter)) continue;
    for (const match of line.text.matchAll(pattern)) {
      found.push({ line, start: match.index, end: match.index + match[0].length });
      if (found.length === MAX_MATCHES) return found;
    }
  }
  return found;
}

/** The matches of one text in a log that grows: each line is searched once. */
export class LogSearch {
  readonly sought: string;
  readonly filter: LogFilter;
  #found: readonly Match[] = [];
  #searched = 0;

  constructor(sought: string, filter: LogFilter) {
    this.sought = sought;
    this.filter = filter;
  }

  /** The matches in the lines that are kept now; the same array while nothing changes. */
  update(lines: Iterable<LogLine>): readonly Match[] {
    const added: LogLine[] = [];
    let first: number | undefined;
    for (const line of lines) {
      first ??= line.number;
      // The newest line may have been overwritten since.
      if (line.number >= this.#searched) added.push(line);
    }
    const kept = this.#found.filter(({ line }) => line.number < this.#searched && line.number >= (first ?? 0));
    const found = findMatches(added, this.sought, this.filter).slice(0, MAX_MATCHES - kept.length);
    this.#searched = added.at(-1)?.number ?? this.#searched;
    if (found.length > 0 || kept.length !== this.#found.length) this.#found = [...kept, ...found];
    return this.#found;
  }
}

/** Return the index of the match to go to from a line: the first at or behind it, or else the first of all. */
export function nextMatch(matches: readonly Match[], lineNumber: number): number {
  let low = 0;
  let high = matches.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((matches[middle] as Match).line.number < lineNumber) low = middle + 1;
    else high = middle;
  }
  return low < matches.length ? low : 0;
}

/** A stretch of a line that is drawn in one way. */
export interface Segment {
  readonly text: string;
  readonly style: LogLine["spans"][number]["style"] | undefined;
  /** Whether it belongs to a match, and to the one that the reader is at. */
  readonly mark: "match" | "current" | undefined;
}

/** Return the segments of a line: its styles, cut at the matches. Both are in order and do not overlap. */
export function segments(line: LogLine, found: readonly Match[], current: Match | undefined): Segment[] {
  const cuts = new Set([0, line.text.length]);
  for (const { start, end } of line.spans) cuts.add(start).add(end);
  for (const { start, end } of found) cuts.add(start).add(end);
  const places = [...cuts].sort((a, b) => a - b);
  const made: Segment[] = [];
  let span = 0;
  let match = 0;
  for (let index = 0; index + 1 < places.length; index++) {
    const [start, end] = [places[index] as number, places[index + 1] as number];
    while (span < line.spans.length && (line.spans[span]?.end ?? 0) <= start) span++;
    while (match < found.length && (found[match]?.end ?? 0) <= start) match++;
    const styled = line.spans[span];
    const at = found[match];
    const marked = at !== undefined && at.start <= start;
    made.push({
      text: line.text.slice(start, end),
      style: styled !== undefined && styled.start <= start ? styled.style : undefined,
      mark: marked ? (isSame(at, current) ? "current" : "match") : undefined,
    });
  }
  return made;
}

/** Return the place of a match among others; -1 if it is not one of them. */
export function indexOfMatch(found: readonly Match[], match: Match | undefined): number {
  return found.findIndex((each) => isSame(each, match));
}

function isSame(one: Match, other: Match | undefined): boolean {
  return other !== undefined && one.line.number === other.line.number && one.start === other.start;
}

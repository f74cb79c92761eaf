/**
 * The live tail: the newest events that match, of a bounded number and size, the newest first. Pure.
 *
 * Three things keep it both honest and frugal.
 * - A page can show some tens of new events at a time. What comes faster is counted, and a row in its place says how many
 *   were not drawn and where they are in the log, so that they can be read.
 * - A pause keeps the position, not the events: going on reads the log from there. Memory does not grow, nothing is lost.
 * - What the hub no longer has is a row, too, and so is what is in the log before the oldest row.
 */

import type { LoggedEvent } from "./filter.ts";

/** Events that are drawn of those that came between two ticks; the rest is counted. */
export const DRAWN_PER_TICK = 50;
/** Rows that are kept while new ones come; older ones leave the page (not the log). */
export const MAX_ROWS = 2_000;
/** Rows that are kept of a reader who goes back in the log. */
export const MAX_ROWS_BACK = 20_000;
/** Size of the data of all kept events, in characters: with payloads of 64 KB it counts before the number does. */
export const MAX_CHARACTERS = 16_000_000;

/** A row with an event. */
export interface EventRow {
  readonly kind: "event";
  readonly event: LoggedEvent;
}

/** A row in place of events that are in the log and not on the page. */
export interface OmittedRow {
  readonly kind: "omitted";
  /** Why: they came too fast to be drawn, the browser fell behind, or they have not been read yet. */
  readonly reason: "too fast" | "overflow" | "unread";
  /** How many match; null where it is not known. */
  readonly count: number | null;
  /** The position to read after. */
  readonly after: string;
  /** The position of the last of them; null: up to the next row, or to the end. */
  readonly until: string | null;
}

/** A row in place of events that the hub no longer has. */
export interface GapRow {
  readonly kind: "gap";
  readonly reason: string;
  readonly after: string;
  readonly until: string;
}

/** The last row, in place of the events of the log before all others. */
export interface EarlierRow {
  readonly kind: "earlier";
  /** Where the range begins: a time, or `first`. */
  readonly after: string;
  /** The position of the last of them. */
  readonly until: string;
  /** Whether the page has room for more. */
  readonly fits: boolean;
}

/** One row of the page. Rows are compared by identity. */
export type TailRow = EventRow | OmittedRow | GapRow | EarlierRow;

/** `following`: new events come in. `paused`: they are counted. `reading`: the log is read to go on from the pause. */
export type TailMode = "following" | "paused" | "reading";

/** The tail of one filter. */
export class Tail {
  #rows: readonly TailRow[] = [];
  /** Beginning of the range that can be read backwards; "" for none. */
  #begin = "";
  #maxRows: number;
  #characters = 0;
  #staged: EventRow[] = [];
  #omitted = 0;
  #omittedAfter = "";
  #omittedUntil = "";
  #mode: TailMode = "following";
  /** Position of the newest event that arrived, drawn or not, matching or not; "" before the first. */
  #seen = "";
  /** Position up to which the page shows or names everything. */
  #shownUntil = "";
  #waiting = 0;
  /** False: events from before the page was opened wait, too, and are not counted. */
  #isCounted = true;
  readonly #limits: { readonly rows: number; readonly characters: number; readonly drawnPerTick: number };

  constructor(limits: Partial<{ rows: number; characters: number; drawnPerTick: number }> = {}) {
    this.#limits = { rows: MAX_ROWS, characters: MAX_CHARACTERS, drawnPerTick: DRAWN_PER_TICK, ...limits };
    this.#maxRows = this.#limits.rows;
  }

  /** The rows, the newest first. The list is another one after each change. */
  get rows(): readonly TailRow[] {
    return this.#rows;
  }

  get mode(): TailMode {
    return this.#mode;
  }

  /** Number of matching events that arrived since the pause; null where more wait that were not counted. */
  get waiting(): number | null {
    return this.#isCounted ? this.#waiting : null;
  }

  /** The position to go on from: everything up to it is on the page, or named in a row. "" before the first event. */
  get resumeFrom(): string {
    return this.#mode === "following" ? this.#seen : this.#shownUntil;
  }

  /**
   * Take an event that arrived.
   *
   * @param matches - Whether the filter chooses it; the position moves on in any case.
   */
  take(event: LoggedEvent, matches: boolean): void {
    this.#seen = event.position;
    if (!matches) return;
    if (this.#mode !== "following") {
      this.#waiting++;
      return;
    }
    this.#staged.push({ kind: "event", event });
    if (this.#staged.length > this.#limits.drawnPerTick) this.#omitOldestStaged();
  }

  /** Take a position that the hub reported without an event. */
  reached(position: string): void {
    this.#seen = position;
    if (this.#mode === "following" && this.#staged.length === 0) this.#shownUntil = position;
  }

  /** Take the report that the hub no longer has some events. */
  takeGap(gap: { readonly reason: string; readonly after: string; readonly until: string }): void {
    const { reason, after, until } = gap;
    this.#takeHole({ kind: "gap", reason, after, until });
  }

  /** Take the report that the browser fell behind, and events were dropped unseen on the way to the page. */
  takeOverflow(overflow: { readonly after: string; readonly until: string }): void {
    // How many of them match is not known.
    const { after, until } = overflow;
    this.#takeHole({ kind: "omitted", reason: "overflow", count: null, after, until });
  }

  #takeHole(row: OmittedRow | GapRow): void {
    this.tick();
    this.#seen = row.until ?? this.#seen;
    if (this.#mode !== "following") return; // reading the log from the pause meets it again
    this.#shownUntil = this.#seen;
    this.#prepend([row]);
  }

  #omitOldestStaged(): void {
    const row = this.#staged.shift();
    if (row === undefined) return;
    if (this.#omitted === 0) this.#omittedAfter = this.#shownUntil;
    this.#omitted++;
    this.#omittedUntil = row.event.position;
  }

  /** Bring what arrived into the rows. Called a few times a second. Returns whether the rows changed. */
  tick(): boolean {
    if (this.#mode !== "following") return false;
    const added: TailRow[] = this.#staged.reverse();
    if (this.#omitted > 0) {
      const [count, after, until] = [this.#omitted, this.#omittedAfter, this.#omittedUntil];
      added.push({ kind: "omitted", reason: "too fast", count, after, until });
    }
    this.#staged = [];
    this.#omitted = 0;
    this.#shownUntil = this.#seen;
    if (added.length === 0) return false;
    this.#prepend(added);
    return true;
  }

  /** Stop to bring in events; they are counted from here. */
  pause(): void {
    if (this.#mode === "following") this.tick();
    this.#mode = "paused";
  }

  /** Stop to bring in events; how many come until the pause ends is not known. */
  rest(): void {
    this.pause();
    this.#isCounted = false;
  }

  /** Begin paused behind a position, with nothing shown: what follows is to be read from the log. */
  beginAt(position: string): void {
    this.#mode = "paused";
    this.#isCounted = false;
    this.#seen = this.#shownUntil = position;
  }

  /**
   * Say that the log has events before all rows: a row names them, and those that leave the page later.
   *
   * @param begin - Where the range begins: a time, or `first`.
   * @param until - The position of the last of them.
   */
  nameEarlier(begin: string, until: string): void {
    this.#begin = begin;
    this.#append([], until);
  }

  /**
   * Take events that were read backwards from the last row.
   *
   * @param events - Oldest first.
   * @param earlier - The position up to which the log was not read; null: there is nothing more.
   */
  takeEarlier(
    events: readonly LoggedEvent[],
    earlier: string | null,
    gap?: { reason: string; after: string; until: string },
  ): void {
    const added: TailRow[] = events.map((event): TailRow => ({ kind: "event", event })).reverse();
    if (gap !== undefined) added.push({ kind: "gap", reason: gap.reason, after: gap.after, until: gap.until });
    for (const event of events) this.#characters += sizeOf(event.data);
    this.#maxRows = Math.min(
      MAX_ROWS_BACK,
      Math.max(this.#maxRows, this.#rows.length + added.length + this.#limits.rows),
    );
    this.#append(added, earlier);
  }

  #append(added: readonly TailRow[], earlier: string | null): void {
    const rows = [...this.#rows.filter((row) => row.kind !== "earlier"), ...added];
    this.#rows = earlier === null ? rows : [...rows, this.#earlierRow(earlier)];
    this.#evict();
  }

  #earlierRow(until: string): EarlierRow {
    const fits = this.#rows.length < MAX_ROWS_BACK && this.#characters < this.#limits.characters;
    return { kind: "earlier", after: this.#begin, until, fits };
  }

  /** The log is being read from `resumeFrom`; see `takeRead`. */
  beginReading(): void {
    if (this.#mode === "paused") this.#mode = "reading";
  }

  /**
   * Take a page of the log that was read from `resumeFrom`.
   *
   * @param events - Matching events, oldest first.
   * @param next - The position to go on from.
   */
  takeRead(events: readonly LoggedEvent[], next: string, gap?: { reason: string; after: string; until: string }): void {
    const added: TailRow[] = events.map((event) => ({ kind: "event", event }));
    if (gap !== undefined) added.unshift({ kind: "gap", reason: gap.reason, after: gap.after, until: gap.until });
    this.#waiting = Math.max(0, this.#waiting - events.length);
    this.#shownUntil = next;
    this.#prepend(added.reverse());
  }

  /** Reading stopped, or could not be done: everything behind `resumeFrom` still waits. */
  stopReading(): void {
    if (this.#mode === "reading") this.#mode = "paused";
  }

  /**
   * Follow again.
   *
   * @param skipped - True: what waits is not read, and a row names it. False: everything was read.
   */
  follow(skipped: boolean): void {
    if (this.#mode === "following") return;
    if (skipped && this.waiting !== 0 && this.#seen !== this.#shownUntil) {
      const { waiting: count, resumeFrom: after } = this;
      this.#prepend([{ kind: "omitted", reason: "unread", count, after, until: this.#seen }]);
      this.#shownUntil = this.#seen;
    } else {
      this.#seen = this.#shownUntil;
    }
    this.#waiting = 0;
    this.#isCounted = true;
    this.#mode = "following";
  }

  /**
   * Put events that were read from the log in place of the row that named them.
   *
   * @param events - Matching events of its range, oldest first.
   * @param next - Where reading stopped; null if all of the range was read.
   */
  fill(row: OmittedRow, events: readonly LoggedEvent[], next: string | null): void {
    const index = this.#rows.indexOf(row);
    if (index < 0) return;
    const filled: TailRow[] = events.map((event): TailRow => ({ kind: "event", event })).reverse();
    if (next !== null) {
      const count = row.count === null ? null : Math.max(0, row.count - events.length);
      filled.unshift({ ...row, count, after: next });
    }
    this.#rows = this.#rows.toSpliced(index, 1, ...filled);
    for (const event of events) this.#characters += sizeOf(event.data);
    this.#evict();
  }

  #prepend(added: readonly TailRow[]): void {
    if (added.length === 0) return;
    for (const row of added) if (row.kind === "event") this.#characters += sizeOf(row.event.data);
    this.#rows = [...added, ...this.#rows];
    this.#evict();
  }

  #evict(): void {
    const last = this.#rows.at(-1)?.kind === "earlier" ? this.#rows.length - 1 : this.#rows.length;
    let keep = Math.min(last, this.#maxRows);
    for (let index = last - 1; index >= keep; index--) this.#forget(index);
    while (keep > 1 && this.#characters > this.#limits.characters) this.#forget(--keep);
    if (keep === last) return;
    const newest = endOf(this.#rows[keep]);
    const kept = this.#rows.slice(0, keep);
    this.#rows = this.#begin === "" || newest === null ? kept : [...kept, this.#earlierRow(newest)];
  }

  #forget(index: number): void {
    const row = this.#rows[index];
    if (row?.kind === "event") this.#characters -= sizeOf(row.event.data);
  }
}

/** Return the position of the last event that a row has or names; null where it is not known. */
function endOf(row: TailRow | undefined): string | null {
  if (row === undefined) return null;
  return row.kind === "event" ? row.event.position : row.until;
}

/** Roughly how many characters a JSON value has, without writing it. */
export function sizeOf(value: unknown): number {
  if (typeof value === "string") return value.length + 2;
  if (typeof value !== "object" || value === null) return 8;
  let size = 2;
  if (Array.isArray(value)) for (const each of value) size += sizeOf(each) + 1;
  else for (const [name, each] of Object.entries(value)) size += name.length + 4 + sizeOf(each);
  return size;
}

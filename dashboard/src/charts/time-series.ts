/** Points of several series over one time axis, in memory of a bounded length. Pure. */

/** One column for each series, behind the column of times: what uPlot draws. */
export type Columns = readonly [at: readonly number[], ...values: readonly (readonly (number | null)[])[]];

/** Seconds between two points: charts take new points at most once a second. */
const MIN_STEP_S = 1;

/**
 * A ring of points, oldest first.
 *
 * A point that comes less than a second after the last one replaces it. A point that is older than the last one (a clock
 * was set back) begins the ring again, because a line that runs backwards says nothing.
 */
export class TimeSeries<Name extends string> {
  readonly #names: readonly Name[];
  readonly #capacity: number;
  #at: number[] = [];
  #values: (number | null)[][];

  /**
   * @param names - Names of the series, in the order of their columns.
   * @param capacity - Maximum number of points; the oldest leave.
   */
  constructor(names: readonly Name[], capacity: number) {
    this.#names = names;
    this.#capacity = capacity;
    this.#values = names.map(() => []);
  }

  /** Number of points. */
  get length(): number {
    return this.#at.length;
  }

  /** Add a point at `at`, in seconds since 1970. An absent or infinite value is a hole in its line. */
  add(at: number, values: Readonly<Partial<Record<Name, number | null | undefined>>>): void {
    if (!Number.isFinite(at)) return;
    const last = this.#at.at(-1);
    if (last !== undefined && at < last) this.clear();
    if (last !== undefined && at >= last && at - last < MIN_STEP_S) {
      this.#at.pop();
      for (const column of this.#values) column.pop();
    }
    this.#at.push(at);
    this.#names.forEach((name, index) => {
      const value = values[name];
      this.#values[index]?.push(typeof value === "number" && Number.isFinite(value) ? value : null);
    });
    const surplus = this.#at.length - this.#capacity;
    if (surplus > 0) {
      this.#at.splice(0, surplus);
      for (const column of this.#values) column.splice(0, surplus);
    }
  }

  /** Forget all points. */
  clear(): void {
    this.#at = [];
    this.#values = this.#names.map(() => []);
  }

  /** Return the columns of `name` between two times, in seconds since 1970. */
  columns(name: Name, from: number, until: number): Columns {
    const column = this.#values[this.#names.indexOf(name)] ?? [];
    const first = firstAtLeast(this.#at, from);
    const end = firstAtLeast(this.#at, until + 1e-9);
    return [this.#at.slice(first, end), column.slice(first, end)];
  }

  /** Return the newest known value of a series. */
  newest(name: Name): number | null {
    const column = this.#values[this.#names.indexOf(name)] ?? [];
    for (let index = column.length - 1; index >= 0; index--) {
      const value = column[index];
      if (value !== null && value !== undefined) return value;
    }
    return null;
  }
}

/** Return the index of the first number that is at least `wanted`, in an ascending list. */
function firstAtLeast(sorted: readonly number[], wanted: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? 0) < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Return the greatest value of a column; null where nothing is known. */
export function peakOf(column: readonly (number | null)[]): number | null {
  let peak: number | null = null;
  for (const value of column) if (value !== null && (peak === null || value > peak)) peak = value;
  return peak;
}

/**
 * Return the upper end of an axis that begins at 0: the first of 1, 2, 2.5, 5 times a power of ten that holds all values.
 *
 * @param limit - A line that is drawn, too, such as the most that a log may hold.
 */
export function niceTop(column: readonly (number | null)[], limit: number | null = null): number {
  const most = Math.max(peakOf(column) ?? 0, limit ?? 0);
  if (most <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  for (const step of [1, 2, 2.5, 5]) if (step * power >= most * (1 - 1e-9)) return step * power;
  return 10 * power;
}

/** Return the index of the point nearest to `at`; null without points. */
export function nearestPoint(times: readonly number[], at: number): number | null {
  if (times.length === 0) return null;
  const after = firstAtLeast(times, at);
  const before = after - 1;
  const next = times[after];
  const previous = times[before];
  if (next === undefined) return before;
  return previous !== undefined && at - previous <= next - at ? before : after;
}

/** The figures of the hub over time: its samples, and what its events said since the newest of them. Pure. */

import { type Columns, TimeSeries } from "../../charts/time-series.ts";
import { type Point, pointsOf, type Samples, SERIES, type SeriesName } from "./facts.ts";

/** A day of minutes, and the points of events in between. */
const CAPACITY = 1_440 + 360;
const LIVE_CAPACITY = 360;

/** The figures of one hub. */
export class Figures {
  #samples: readonly Point[] = [];
  #live: Point[] = [];
  readonly #series = new TimeSeries<SeriesName>(SERIES, CAPACITY);

  /** Take the samples of an answer. */
  take(samples: Samples | undefined): void {
    if (samples === undefined) return;
    this.#samples = pointsOf(samples);
    const newest = this.#samples.at(-1)?.at ?? Number.NEGATIVE_INFINITY;
    this.#live = this.#live.filter((point) => point.at > newest);
    this.#series.clear();
    for (const point of [...this.#samples, ...this.#live]) this.#series.add(point.at, point.values);
  }

  /** Take the figures of an event, at `at` in seconds since 1970. Figures that it does not name stay what they were. */
  add(at: number, values: Point["values"]): void {
    const newest = this.#live.at(-1)?.at ?? this.#samples.at(-1)?.at ?? Number.NEGATIVE_INFINITY;
    if (!(at > newest)) return;
    const known: Partial<Record<SeriesName, number | null>> = {};
    for (const name of SERIES) known[name] = values[name] ?? this.#series.newest(name);
    this.#live.push({ at, values: known });
    if (this.#live.length > LIVE_CAPACITY) this.#live.shift();
    this.#series.add(at, known);
  }

  /** Whether anything is known of a figure. */
  has(name: SeriesName): boolean {
    return this.#series.newest(name) !== null;
  }

  newest(name: SeriesName): number | null {
    return this.#series.newest(name);
  }

  /** Return the columns of a figure between two times, in seconds since 1970. */
  columns(name: SeriesName, from: number, until: number): Columns {
    return this.#series.columns(name, from, until);
  }
}

/** How many events arrive each second, over the last seconds. Pure: the time is an argument. */

const WINDOW_S = 5;

/** Counts events by the second in which they came. */
export class Rate {
  readonly #counts = new Array<number>(WINDOW_S + 1).fill(0);
  #second = 0;
  #began: number | null = null;

  /** Count `count` events at `now`, in milliseconds of any steady clock. */
  add(now: number, count = 1): void {
    this.#advance(now);
    const slot = this.#second % this.#counts.length;
    this.#counts[slot] = (this.#counts[slot] ?? 0) + count;
  }

  /** Return the events per second in the last five whole seconds; null before the first second is over. */
  perSecond(now: number): number | null {
    this.#advance(now);
    if (this.#began === null) return null;
    const seconds = Math.min(WINDOW_S, this.#second - this.#began);
    if (seconds < 1) return null;
    let sum = 0;
    for (let age = 1; age <= seconds; age++) sum += this.#counts[(this.#second - age) % this.#counts.length] ?? 0;
    return sum / seconds;
  }

  #advance(now: number): void {
    const second = Math.floor(now / 1000);
    if (this.#began === null) {
      this.#began = Math.ceil(now / 1000); // the second in which counting began is not a whole one
      this.#second = second;
    }
    const passed = Math.min(second - this.#second, this.#counts.length);
    for (let step = 0; step < passed; step++) this.#counts[(second - step) % this.#counts.length] = 0;
    if (second > this.#second) this.#second = second;
  }
}

/** Times, and the hub's clock, as far as its messages tell. */

/** A time that does not come. */
export const NEVER = Number.POSITIVE_INFINITY;

/** Delay of a message beyond which its time means that the hub's clock was set back. */
const MAX_LATE_MS = 60_000;

export class HubClock {
  readonly #monotonic: () => number;
  readonly #wall: () => number;
  #offset: number | undefined;
  #latest = Number.NEGATIVE_INFINITY;

  /** @param monotonic - Milliseconds on a clock that never goes backwards. @param wall - Milliseconds since 1970. */
  constructor(monotonic: () => number, wall: () => number) {
    this.#monotonic = monotonic;
    this.#wall = wall;
  }

  /** Note the time of the hub, RFC 3339, as it arrives. */
  set(timestamp: string): void {
    const offset = Date.parse(timestamp) - this.#monotonic();
    if (Number.isNaN(offset)) return;
    // The time stands still while a late message seems to set it back, but not for hours.
    if (this.#latest - offset - this.#monotonic() > MAX_LATE_MS) this.#latest = Number.NEGATIVE_INFINITY;
    this.#offset = offset;
  }

  /** Note that the hub may be another one, or its clock was set: the time may go back once. */
  reset(timestamp: string): void {
    this.#latest = Number.NEGATIVE_INFINITY;
    this.set(timestamp);
  }

  /** Return the time in milliseconds since 1970; this device's own before the first greeting. */
  now(): number {
    if (this.#offset === undefined) return this.#wall();
    this.#latest = Math.max(this.#latest, this.#offset + this.#monotonic());
    return this.#latest;
  }
}

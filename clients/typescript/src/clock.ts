/** Times, and the hub's clock, as far as its messages tell. */

/** A time that does not come. */
export const NEVER = Number.POSITIVE_INFINITY;

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
    const hub = Date.parse(timestamp);
    if (!Number.isNaN(hub)) this.#offset = hub - this.#monotonic();
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

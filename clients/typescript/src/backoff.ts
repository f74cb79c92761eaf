/** Delays before reconnecting: exponential with full jitter. */

/** Bounds of the delays, in milliseconds. */
export interface BackoffPolicy {
  /** First window. Drawing from all of it spreads clients that lost their hub at the same moment. */
  readonly baseMs: number;
  /** Widest window: the longest that a person who restarts the hub waits. */
  readonly capMs: number;
}

/** Duration in milliseconds after which a connection resets the window; one that drops at once must not. */
const SETTLED_MS = 10_000;

/** The delays of one connection. */
export class Backoff {
  readonly #policy: BackoffPolicy;
  readonly #random: () => number;
  #windowMs: number;

  /** @param random - Returns a number from 0 up to, not including, 1. */
  constructor(policy: BackoffPolicy, random: () => number) {
    this.#policy = policy;
    this.#random = random;
    this.#windowMs = policy.baseMs;
  }

  reset(): void {
    this.#windowMs = this.#policy.baseMs;
  }

  /**
   * Return how many milliseconds to wait before the next connection.
   *
   * @param lastedMs - Duration of the connection that has ended; 0 if none was established.
   * @param retryAfterMs - Delay that the hub asked for; the jitter is added to it.
   */
  next(lastedMs = 0, retryAfterMs = 0): number {
    if (lastedMs >= SETTLED_MS) this.reset();
    const window = Math.min(this.#windowMs, this.#policy.capMs);
    this.#windowMs = window * 2;
    return retryAfterMs + this.#random() * window;
  }
}

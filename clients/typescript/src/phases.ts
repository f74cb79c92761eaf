/**
 * The phases of one connection, when each must have ended, and whether its socket is alive. Times are on a clock that
 * never goes backwards.
 */
import type { Phase, SessionOptions } from "./actions.ts";
import { Backoff } from "./backoff.ts";
import { NEVER } from "./clock.ts";
import { Liveness } from "./liveness.ts";

/** Time in which a socket must open, and then the hub must greet, and in which a failure is explained. */
const OPEN_MS = 10_000;
/** Time that a connection attempt gets after the device woke up: it may hang since before. */
const WAKE_OPEN_MS = 3_000;
/** Time for which a connection without a user is kept: a page that changes leaves and comes back. */
const LINGER_MS = 1_000;

export class Phases {
  current: Phase = "idle";
  /** When the phase must have changed. */
  until = NEVER;
  /** When a connection without a user ends. */
  lingerUntil = NEVER;
  /** Whether the socket is alive; undefined before the hub has greeted. */
  liveness: Liveness | undefined;
  visible: boolean;
  readonly #options: SessionOptions;
  readonly #backoff: Backoff;
  #establishedAt: number | undefined;
  /** Whether the hub asked for the delay before the next connection. */
  #delayed = false;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.visible = options.visible;
    this.#backoff = new Backoff(options.policy, options.random);
  }

  /** Whether there is a connection, or will be one by itself. */
  get active(): boolean {
    return this.current !== "idle" && this.current !== "closed";
  }

  /** Enter a phase that must not last. */
  enter(phase: Phase): void {
    this.current = phase;
    this.until = this.#options.now() + OPEN_MS;
  }

  /** Note the greeting of the hub; `asks`: it can be asked whether it is alive. */
  established(asks: boolean): void {
    this.#establishedAt = this.#options.now();
    this.until = NEVER;
    this.liveness = new Liveness(this.#establishedAt, this.visible, asks);
  }

  /** Note that the socket is gone. */
  end(): void {
    this.until = NEVER;
    this.liveness = undefined;
  }

  /** When the session must look. */
  get deadline(): number {
    return Math.min(this.until, this.lingerUntil, this.liveness?.deadline ?? NEVER);
  }

  /** Whether the page is visible. */
  show(visible: boolean): void {
    this.visible = visible;
    this.liveness?.show(visible, this.#options.now());
  }

  /** The device may have slept: probe once. */
  wake(): void {
    this.liveness?.wake(this.#options.now());
  }

  /** Wait before the next connection, which the hub may have asked for; return for how many milliseconds. */
  wait(retryAfterMs: number): number {
    const now = this.#options.now();
    const delay = this.#backoff.next(now - (this.#establishedAt ?? now), retryAfterMs);
    this.#establishedAt = undefined;
    this.#delayed = retryAfterMs > 0;
    this.current = "waiting";
    this.until = now + delay;
    return delay;
  }

  /** Begin with the shortest delay again. */
  reset(): void {
    this.current = "idle";
    this.#backoff.reset();
  }

  /** Do soon what a device that woke up waits for; return whether to connect now. */
  hurry(): boolean {
    if (this.current === "suspended" || (this.current === "waiting" && !this.#delayed)) return true;
    if (this.current !== "waiting" && this.until !== NEVER) {
      this.until = Math.min(this.until, this.#options.now() + WAKE_OPEN_MS);
    }
    return false;
  }

  /** Note whether someone needs the connection. */
  linger(wanted: boolean): void {
    if (wanted) this.lingerUntil = NEVER;
    else if (this.active) this.lingerUntil = Math.min(this.lingerUntil, this.#options.now() + LINGER_MS);
  }
}

/**
 * Finds out whether a connection is alive, by probing: a browser shows no Pings to a page, and a healthy hub may be
 * silent for 30 s. Times are in milliseconds on a clock that never goes backwards; they are arguments.
 */

import { NEVER } from "./clock.ts";

/** Silence after which a visible page sends a ping. */
const SILENCE_MS = 5_000;
/** Time after which a visible page pings a hub that is not silent, too: the answer has the time of the hub's clock. */
const BUSY_MS = 10_000;
/** Time that the hub has to answer a ping. */
const ANSWER_MS = 3_000;
/** Time until a page that has become visible, or woken up, shows that its data may be old. */
export const WAKE_STALE_MS = 1_000;
/** Time in which messages that arrived before are read, before the silence is judged. */
const DRAIN_MS = 50;
/** Silence after which a stream, which cannot be asked, is lost; a healthy hub is never silent for over 30 s. */
const STREAM_SILENCE_MS = 35_000;
/** A timer that is later than this was stopped: the machine slept, or the page was frozen. */
export const LATE_MS = 1_000;

/** What to do: `ping` the hub, or replace the connection (`lost`). */
export type Verdict = "ping" | "lost";

/** The signs of life on one connection. */
export class Liveness {
  /** Whether the hub is silent although it was asked. */
  stale = false;
  readonly #asks: boolean;
  #heardAt: number;
  #askedAt: number;
  #visible: boolean;
  /** When to ping; the ping follows what was received before it. */
  #pingAt: number | undefined;
  #staleAt: number | undefined;
  #lostAt: number | undefined;
  /** Whether only the answer to the ping proves that the hub lives: what was queued before a sleep does not. */
  #woken = false;
  #draining = false;
  #repeated = false;

  /** @param asks - Whether the hub can be asked on this connection. */
  constructor(now: number, visible: boolean, asks = true) {
    this.#heardAt = this.#askedAt = now;
    this.#asks = asks;
    this.#visible = visible;
  }

  /** Note a message of the hub. */
  heard(now: number, pong: boolean): void {
    this.#heardAt = now;
    if (this.#woken && !pong) return;
    this.#clear();
  }

  #clear(): void {
    this.#pingAt = this.#staleAt = this.#lostAt = undefined;
    this.stale = this.#woken = this.#draining = this.#repeated = false;
  }

  /** The page is visible, or hidden: a hidden page probes nothing, because its timers hardly run. */
  show(visible: boolean, now: number): void {
    this.#visible = visible;
    if (visible) this.wake(now);
    else if (!this.stale) this.#clear();
  }

  /** Probe once, because the page was shown, the device woke up or its network came back. */
  wake(now: number): void {
    if (this.#woken || !this.#visible || !this.#asks) return;
    this.#clear();
    this.#woken = true;
    this.#pingAt = now + DRAIN_MS;
    this.#staleAt = now + WAKE_STALE_MS - DRAIN_MS;
    this.#lostAt = now + DRAIN_MS + ANSWER_MS;
  }

  /** When `tick` must be called. */
  get deadline(): number {
    if (this.#pingAt !== undefined) return this.#pingAt;
    if (!this.#asks) return this.#lostAt ?? this.#heardAt + STREAM_SILENCE_MS;
    if (this.#lostAt === undefined) {
      return this.#visible ? Math.min(this.#heardAt + SILENCE_MS, this.#askedAt + BUSY_MS) : NEVER;
    }
    return this.stale || this.#staleAt === undefined ? this.#lostAt : Math.min(this.#staleAt, this.#lostAt);
  }

  /** Judge the silence. */
  tick(now: number): Verdict | undefined {
    const { deadline } = this;
    if (now < deadline) return undefined;
    if (this.#asks && (this.#pingAt !== undefined || this.#lostAt === undefined)) {
      this.#pingAt = undefined;
      this.#staleAt ??= now + ANSWER_MS;
      this.#lostAt = now + ANSWER_MS;
      this.#askedAt = now;
      return "ping";
    }
    if (now - deadline > LATE_MS && !this.#repeated && this.#asks) {
      // No one could have read an answer. Ask again, once.
      this.#clear();
      this.wake(now);
      this.#repeated = true;
      return undefined;
    }
    if (!this.#draining) {
      this.#draining = true;
      if (deadline === this.#lostAt || !this.#asks) this.#lostAt = now + DRAIN_MS;
      else this.#staleAt = now + DRAIN_MS;
      return undefined;
    }
    this.#draining = false;
    if (deadline === this.#lostAt) return "lost";
    this.stale = true;
    return undefined;
  }
}

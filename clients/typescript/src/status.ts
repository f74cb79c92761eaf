/** Derives what an application sees of a connection. */
import type { Phase, SessionOptions } from "./actions.ts";
import type { Access } from "./authentication.ts";
import { NEVER } from "./clock.ts";
import {
  type ConnectionReason,
  type ConnectionState,
  type ConnectionStateName,
  type HubFacts,
  IDLE,
  type Reconnect,
} from "./connection.ts";
import type { Established } from "./messages.ts";

/** Reconnects that are kept. */
const MAX_ATTEMPTS = 10;
/** Time for which an exchange of connections may stay unknown to the application. */
const QUIET_MS = 10_000;

/** What is known of one connection beside its phase. */
export class ConnectionStatus {
  /** State as the application shows it; the same object until it changes. */
  state: ConnectionState = IDLE;
  reason: ConnectionReason = IDLE.reason;
  /** Whether the device has a network, by its own account. */
  online = true;
  /** When the hub was last heard, in milliseconds since 1970 by this device's clock. */
  heardAt: number | undefined;
  /** When the client connects again, in milliseconds since 1970 by this device's clock. */
  retryAt: number | undefined;
  /** Until when the connection may change without the application knowing; `NEVER` if it need not be quiet. */
  quietUntil = NEVER;
  readonly #options: SessionOptions;
  #attempts = IDLE.attempts;
  #hub: HubFacts | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  get quiet(): boolean {
    return this.quietUntil !== NEVER;
  }

  /** Let the application not know, for a time, that the connection changes. */
  hush(ms = QUIET_MS): void {
    this.quietUntil = this.#options.now() + ms;
  }

  /** Note that a connection is made, the first or another one. */
  connecting(): void {
    const { code, error } = this.reason;
    if (code === "idle") this.reason = { code: "connecting" };
    else if (!this.quiet) {
      this.settle("failed");
      const attempt = Object.freeze({ at: this.#options.wall(), cause: error?.message ?? code, outcome: "pending" });
      this.#attempts = Object.freeze([...this.#attempts, attempt as Reconnect].slice(-MAX_ATTEMPTS));
    }
  }

  /** Note the greeting of the hub; return whether its contract is another one than before. */
  greeted({ channels, connection_id: connectionId, contract }: Established): boolean {
    const before = this.#hub?.contractHash;
    const { hash: contractHash, version: contractVersion } = contract;
    this.#hub = Object.freeze({ connectionId, contractVersion, contractHash, channels });
    return contractHash !== before;
  }

  /** Note how the newest reconnect went on, unless that is known. */
  settle(outcome: Reconnect["outcome"]): void {
    const last = this.#attempts.at(-1);
    if (last?.outcome !== "pending") return;
    this.#attempts = Object.freeze([...this.#attempts.slice(0, -1), Object.freeze({ ...last, outcome })]);
  }

  /** Derive the state, which stays the same object if nothing has changed. */
  update(phase: Phase, stale: boolean | undefined, caughtUp: boolean, streaming: boolean, access: Access): void {
    const [state, reason] = this.#judge(phase, stale, caughtUp);
    const before = this.state;
    const same = state === before.state;
    const sameReason = reason.code === before.reason.code && reason.error === before.reason.error;
    const facts: { readonly [Name in keyof ConnectionState]: unknown } = {
      state,
      since: same && before.reason.code !== "idle" ? before.since : this.#options.wall(),
      reason: sameReason ? before.reason : Object.freeze(reason),
      heardAt: same ? before.heardAt : state === "stale" || state === "closed" ? this.heardAt : undefined,
      retryAt: this.retryAt,
      attempts: this.#attempts,
      transport: phase === "open" ? (streaming ? "sse" : "websocket") : before.transport,
      hub: this.#hub,
      ...access,
    };
    const members = Object.entries(facts).filter(([, value]) => value !== undefined);
    const unchanged = members.every(([name, value]) => before[name as keyof ConnectionState] === value);
    if (unchanged && members.length === Object.keys(before).length) return;
    this.state = Object.freeze(Object.fromEntries(members)) as unknown as ConnectionState;
  }

  #judge(phase: Phase, stale: boolean | undefined, caughtUp: boolean): [ConnectionStateName, ConnectionReason] {
    const { reason, state } = this;
    if (phase === "closed") return ["closed", reason];
    if (phase === "open" && stale) return ["stale", { code: "silent" }];
    if (this.quiet) return [state.state, state.reason];
    if (phase !== "open") {
      const offline = reason.code === "lost" && !this.online;
      return [this.#options.holds() ? "stale" : "connecting", offline ? { ...reason, code: "offline" } : reason];
    }
    return caughtUp ? ["live", { code: "connected" }] : ["catching-up", { code: "catching-up" }];
  }
}

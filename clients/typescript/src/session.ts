/**
 * One logical connection to a hub over any number of sockets, without I/O: inputs in, actions out.
 *
 * Nothing awaits; clocks and randomness are arguments. The owner calls the inputs, then performs the actions of
 * `take`, and calls `tick` at `deadline`. Each socket has a generation; inputs of earlier ones are ignored, so that
 * there is never more than one connection, however its triggers race.
 */
import { Backoff, type BackoffPolicy } from "./backoff.ts";
import type { HubClock } from "./clock.ts";
import { type ConnectionState, type HubFacts, IDLE, type ReasonCode, type Reconnect } from "./connection.ts";
import {
  ConnectionLostError,
  CredentialError,
  HubClosedError,
  makeHubError,
  NotAHubError,
  type TidingsError,
} from "./errors.ts";
import type { Sink, WatchItem } from "./items.ts";
import { Liveness } from "./liveness.ts";
import {
  type AuthRequired,
  type AuthSuccess,
  type Closed,
  type Established,
  type Message,
  mayReconnect,
  parseMessage,
  type Refusal,
} from "./messages.ts";
import type { KeyFields } from "./paths.ts";
import { type Backfill, type Subscription, Subscriptions } from "./subscriptions.ts";

/** Time in which a socket must open, and then the hub must greet. */
const OPEN_MS = 10_000;
/** Time that a connection attempt gets after the device woke up: it may hang since before. */
const WAKE_OPEN_MS = 3_000;
/** Time for which a connection without a user is kept: a page that changes leaves and comes back. */
const LINGER_MS = 1_000;
/** The longest delay that a hub may ask for: a wrong number must not keep a client away for weeks. */
const MAX_RETRY_AFTER_MS = 300_000;
/** Refusals in a row after which another token of the supplier is not tried. */
const MAX_REFUSALS = 6;
const MAX_ATTEMPTS = 10;
const PING_ID = "ping";
const TOKEN_ID = "token";

/** What the owner of a session must do. */
export type Action =
  | { readonly do: "connect"; readonly generation: number }
  | { readonly do: "disconnect" }
  | { readonly do: "send"; readonly text: string }
  /** Ask the source for a token, and call `tokenArrived`. */
  | { readonly do: "token"; readonly request: number }
  /** Find out why no socket opened, and call `diagnosed`. */
  | { readonly do: "diagnose"; readonly generation: number }
  /** Fetch the key fields of the hub's contract, and call `keysArrived`. */
  | { readonly do: "keys"; readonly generation: number }
  | { readonly do: "backfill"; readonly request: Backfill }
  | { readonly do: "deliver"; readonly subscription: Subscription; readonly items: readonly WatchItem[] }
  | { readonly do: "end"; readonly subscription: Subscription; readonly error: TidingsError };

type Phase = "idle" | "waiting" | "connecting" | "diagnosing" | "greeting" | "authenticating" | "open" | "closed";

export interface SessionOptions {
  readonly policy: BackoffPolicy;
  /** Milliseconds on a clock that never goes backwards. */
  readonly now: () => number;
  /** Milliseconds since 1970. */
  readonly wall: () => number;
  readonly random: () => number;
  readonly visible: boolean;
  readonly clock: HubClock;
}

export class Session {
  /** State as the application shows it; the same object until it changes. */
  state: ConnectionState = IDLE;
  readonly subscriptions: Subscriptions;
  /** Whether a hub has ever let this client in. */
  admitted = false;
  private readonly options: SessionOptions;
  private readonly backoff: Backoff;
  private readonly tokenBackoff: Backoff;
  private readonly actions: Action[] = [];
  private phase: Phase = "idle";
  private generation = 0;
  private visible: boolean;
  private online = true;
  private users = 0;
  private liveness: Liveness | undefined;
  /** When the phase must have changed. */
  private phaseUntil: number | undefined;
  private lingerUntil: number | undefined;
  private establishedAt: number | undefined;
  /** Whether the delay before the next connection was asked for by the hub. */
  private asked = false;
  private heardAt: number | undefined;
  private reason: { code: ReasonCode; error?: TidingsError } = { code: "idle" };
  private attempts: readonly Reconnect[] = [];
  private hub: HubFacts | undefined;
  private access: { subject?: string; grants?: readonly string[]; expiresAt?: string } = {};
  private notice: Closed | undefined;
  private refusal: TidingsError | undefined;
  private refusals = 0;
  private keys: "unknown" | "asked" | "known" = "unknown";
  private tokenRequest = 0;
  private tokenAsked = false;
  private tokenAgainAt: number | undefined;
  private tokenUntil = 0;
  private sentToken: string | undefined;
  private refusedToken: string | undefined;

  constructor(options: SessionOptions) {
    this.options = options;
    this.visible = options.visible;
    this.backoff = new Backoff(options.policy, options.random);
    this.tokenBackoff = new Backoff(options.policy, options.random);
    this.subscriptions = new Subscriptions({
      send: (type, id, data) => this.send(type, id, data),
      backfill: (request) => this.actions.push({ do: "backfill", request }),
      deliver: (subscription, items) => this.actions.push({ do: "deliver", subscription, items }),
      end: (subscription, error) => this.actions.push({ do: "end", subscription, error }),
      retry: (error, retryAfterMs) => this.lose(error, retryAfterMs),
    });
  }

  /** Return the next action; undefined if there is none. */
  take(): Action | undefined {
    const action = this.actions.shift();
    if (action === undefined) this.state = this.describe();
    return action;
  }

  private send(type: string, id: string, data: unknown): void {
    this.actions.push({ do: "send", text: JSON.stringify({ type, id, data }) });
  }

  // Users.

  /** Read some paths; call `flush` when all that begin together are added. */
  add(paths: readonly string[], since: string, sink: Sink): Subscription {
    const subscription = this.subscriptions.add(paths, since, sink);
    if (this.phase === "closed" && this.reason.code === "refused" && !sink.persistent) this.endRefused();
    return subscription;
  }

  remove(subscription: Subscription): void {
    this.subscriptions.remove(subscription);
  }

  /** Keep the connection for one more, or one less, who does not read: `change` is 1 or -1. */
  use(change: number): void {
    this.users += change;
  }

  private get wanted(): boolean {
    return this.users > 0 || this.subscriptions.size > 0;
  }

  /** Do what the users who came and went need. */
  flush(): void {
    if (this.wanted) {
      this.lingerUntil = undefined;
      if (this.phase === "idle") this.connect();
    } else if (this.phase !== "idle" && this.phase !== "closed") {
      this.lingerUntil ??= this.options.now() + LINGER_MS;
    }
    if (this.phase === "open") this.subscribe();
  }

  private subscribe(): void {
    if (this.keys !== "known" && this.subscriptions.needsKeys) {
      if (this.keys === "unknown") this.actions.push({ do: "keys", generation: this.generation });
      this.keys = "asked";
    } else this.subscriptions.flush();
  }

  /** Take the key fields of the hub's contract; undefined if they could not be read. */
  keysArrived(generation: number, fields: KeyFields | undefined): void {
    if (generation !== this.generation || this.phase !== "open") return;
    if (fields === undefined) {
      this.lose(new ConnectionLostError("the hub's contract could not be read"));
      return;
    }
    this.subscriptions.keyFields = fields;
    this.keys = "known";
    this.subscriptions.flush();
  }

  // The socket.

  private connect(): void {
    this.endConnection();
    this.phase = "connecting";
    this.phaseUntil = this.options.now() + OPEN_MS;
    if (this.reason.code === "idle") this.reason = { code: "connecting" };
    else
      this.note({ at: this.options.wall(), cause: this.reason.error?.message ?? this.reason.code, outcome: "pending" });
    this.actions.push({ do: "connect", generation: ++this.generation });
  }

  private endConnection(): void {
    if (
      this.phase === "connecting" ||
      this.phase === "greeting" ||
      this.phase === "authenticating" ||
      this.phase === "open"
    ) {
      this.actions.push({ do: "disconnect" });
    }
    this.generation += 1;
    this.tokenRequest += 1;
    this.tokenAsked = false;
    this.liveness = this.notice = this.phaseUntil = this.tokenAgainAt = undefined;
    if (this.keys === "asked") this.keys = "unknown";
    this.subscriptions.lost();
  }

  /** The socket is open. */
  opened(generation: number): void {
    if (generation !== this.generation || this.phase !== "connecting") return;
    this.phase = "greeting";
    this.phaseUntil = this.options.now() + OPEN_MS;
    this.establishedAt = undefined;
  }

  /** The socket has closed, or did not open. */
  closed(generation: number, code: number, reason: string): void {
    if (generation !== this.generation) return;
    if (this.phase === "connecting") {
      this.phase = "diagnosing";
      this.phaseUntil = undefined;
      this.actions.push({ do: "diagnose", generation });
      return;
    }
    const { notice, phase, refusal } = this;
    this.refusal = undefined;
    // The notice tells what the close code would, if the socket ended without one.
    const ended = code === 1005 || code === 1006 ? (notice?.code ?? code) : code;
    const text = notice?.reason || reason;
    const suffix = text === "" ? "" : `: ${text}`;
    const retryAfterMs = Math.min(notice?.retry_after_ms ?? 0, MAX_RETRY_AFTER_MS);
    const error = refusal ?? new HubClosedError(`the hub closed the connection (${ended})${suffix}`, ended);
    if (ended === 4001) this.onRefused(error);
    else if (!mayReconnect(ended) || notice?.reconnect === false) this.refuse(error);
    else {
      const what = phase === "greeting" ? "the hub closed the connection before its greeting" : "the connection ended";
      this.lose(refusal ?? new ConnectionLostError(`${what} (${ended})${suffix}`, ended), retryAfterMs);
    }
  }

  /** It is known why no socket opened; undefined: the hub is well, and the next try may succeed. */
  diagnosed(generation: number, error: TidingsError | undefined): void {
    if (generation !== this.generation || this.phase !== "diagnosing") return;
    if (error === undefined) this.lose(new ConnectionLostError("the WebSocket did not open, though the hub answers"));
    else if (!error.recoverable && !this.admitted) this.refuse(error);
    else this.lose(error);
  }

  /** Give the connection up, and connect again after a delay. */
  private lose(error: TidingsError, retryAfterMs = 0): void {
    const now = this.options.now();
    const lastedMs = this.establishedAt === undefined ? 0 : now - this.establishedAt;
    this.establishedAt = undefined;
    this.settleAttempt("failed");
    this.endConnection();
    if (!this.wanted) {
      this.rest();
      return;
    }
    this.reason = { code: "lost", error };
    this.phase = "waiting";
    this.asked = retryAfterMs > 0;
    this.phaseUntil = now + this.backoff.next(lastedMs, retryAfterMs);
  }

  /** End for good, until the application signs in or tries again. */
  private refuse(error: TidingsError, code: ReasonCode = "refused"): void {
    this.settleAttempt("failed");
    this.endConnection();
    this.phase = "closed";
    this.reason = { code, error };
    if (code !== "signed-out") this.endRefused();
  }

  private endRefused(): void {
    const { code, error } = this.reason;
    if (error === undefined) return;
    for (const subscription of [...this.subscriptions]) {
      if (subscription.sink.persistent && code !== "closed") continue;
      this.subscriptions.remove(subscription);
      this.actions.push({ do: "end", subscription, error });
    }
  }

  private rest(): void {
    this.endConnection();
    this.phase = "idle";
    this.lingerUntil = undefined;
    this.admittedNow = false;
    this.reason = { code: "idle" };
  }

  /** Connect now rather than later. */
  retryNow(): void {
    if (this.phase === "closed" && this.reason.code !== "closed") this.restart();
    else if (this.phase === "waiting") this.connect();
    else if (this.phase === "open") this.liveness?.wake(this.options.now());
  }

  /** The source of the token has changed. */
  signedIn(): void {
    this.refusals = 0;
    this.refusedToken = undefined;
    if (this.phase === "closed") this.retryNow();
    else if (this.phase === "waiting") this.connect();
    else if (this.phase === "open" && this.access.subject !== undefined) this.askToken(Number.POSITIVE_INFINITY);
    else if (this.phase === "authenticating") this.askToken(0);
  }

  private restart(): void {
    this.phase = "idle";
    this.backoff.reset();
    this.refusals = 0;
    this.flush();
  }

  /** Disconnect, because there is no token any more. */
  signedOut(error: TidingsError): void {
    if (this.phase === "closed" && this.reason.code === "closed") return;
    this.access = {};
    this.admitted = false;
    this.refuse(error, "signed-out");
  }

  /** Disconnect for good. */
  close(error: TidingsError): void {
    this.refuse(error, "closed");
  }

  // The page and the device.

  /** The page is visible, or hidden. */
  show(visible: boolean): void {
    this.visible = visible;
    this.liveness?.show(visible, this.options.now());
    if (visible) this.hurry();
  }

  /** The device may have slept, or its network may have changed: probe once. */
  wake(): void {
    this.liveness?.wake(this.options.now());
    this.hurry();
  }

  /** The device has a network, or none, by its own account. */
  network(online: boolean): void {
    this.online = online;
    this.liveness?.wake(this.options.now());
    if (online) this.hurry();
  }

  private hurry(): void {
    const soon = this.options.now() + WAKE_OPEN_MS;
    if (this.phase === "waiting" && !this.asked) this.connect();
    else if ((this.phase === "connecting" || this.phase === "greeting") && this.phaseUntil !== undefined) {
      this.phaseUntil = Math.min(this.phaseUntil, soon);
    }
  }

  // Time.

  /** When `tick` must be called; undefined if there is nothing to wait for. */
  get deadline(): number | undefined {
    const times = [this.phaseUntil, this.lingerUntil, this.liveness?.deadline, this.tokenAgainAt];
    const known = times.filter((time) => time !== undefined);
    return known.length === 0 ? undefined : Math.min(...known);
  }

  /** Handle the passing of time. */
  tick(): void {
    const now = this.options.now();
    const due = (time: number | undefined): boolean => time !== undefined && now >= time;
    if (due(this.lingerUntil)) this.rest();
    if (due(this.phaseUntil)) this.overdue();
    if (due(this.tokenAgainAt)) this.askToken(this.tokenUntil);
    const verdict = this.liveness?.tick(now);
    if (verdict === "ping") this.send("connection:ping", PING_ID, null);
    if (verdict === "lost") this.lose(new ConnectionLostError("the hub does not answer"));
  }

  private overdue(): void {
    if (this.phase === "waiting") this.connect();
    else if (this.phase === "connecting" || this.phase === "greeting") {
      this.endConnection();
      this.phase = "diagnosing";
      this.actions.push({ do: "diagnose", generation: this.generation });
    }
  }

  // Messages.

  /** Handle a message. */
  received(generation: number, text: string): void {
    if (generation !== this.generation) return;
    const message = parseMessage(text);
    this.liveness?.heard(this.options.now(), message?.reply_to === PING_ID);
    this.heardAt = this.options.wall();
    if (message === undefined || (this.phase === "greeting" && message.type !== "connection:established")) {
      const error = new NotAHubError("the server at the URL does not speak tidings");
      if (this.admitted) this.lose(error);
      else this.refuse(error);
      return;
    }
    if (this.subscriptions.received(message)) {
      if (message.type === "channel:live" && this.subscriptions.caughtUp) {
        this.settleAttempt(this.subscriptions.outcome);
        this.admittedNow = true;
      }
      return;
    }
    this.onMessage(message);
  }

  private onMessage({ type, data, reply_to }: Message): void {
    switch (type) {
      case "connection:established":
        this.onEstablished(data as Established);
        break;
      case "connection:pong":
      case "connection:position":
        this.options.clock.set((data as { now: string }).now);
        break;
      case "connection:closed":
        this.notice = data as Closed;
        break;
      case "connection:error":
        this.onError(reply_to, data as Refusal);
        break;
      case "auth:required":
        if (this.phase === "open") this.askToken(this.options.now() + (data as AuthRequired).deadline_s * 1000);
        break;
      case "auth:success":
        this.onAuthenticated(data as AuthSuccess);
        break;
      case "auth:failed":
        this.onAuthFailed(data as Refusal);
    }
  }

  private onEstablished(data: Established): void {
    const hash = data.contract.hash;
    if (this.hub?.contractHash !== hash) this.keys = "unknown";
    this.hub = {
      connectionId: data.connection_id,
      contractVersion: data.contract.version,
      contractHash: hash,
      channels: data.channels,
    };
    this.head = data.position;
    this.establishedAt = this.options.now();
    this.options.clock.reset(data.now);
    this.phaseUntil = undefined;
    this.liveness = new Liveness(this.options.now(), this.visible);
    if (data.auth === "required") {
      this.phase = "authenticating";
      this.askToken(0);
    } else {
      if (data.auth === "none") this.access = {};
      else if (this.access.subject !== data.auth) this.access = { subject: data.auth };
      this.enter();
    }
  }

  private enter(): void {
    this.phase = "open";
    this.admitted = true;
    this.refusals = 0;
    this.subscriptions.outcome = "live";
    if (this.subscriptions.size === 0) this.settleAttempt("live");
    if (this.keys === "known" || !this.subscriptions.needsKeys) this.subscriptions.opened(this.head);
    else {
      this.keys = "asked";
      this.actions.push({ do: "keys", generation: this.generation });
    }
  }

  private head = "";
  /** Whether what the application holds was current on the connection before. */
  private admittedNow = false;

  private onError(id: string | undefined, data: Refusal): void {
    const error = makeHubError(data);
    if (id !== TOKEN_ID) {
      if (id === undefined) this.refusal = error; // the reason, if the connection is closed for it
    } else if (error.code === "forbidden") {
      // The token is another subject's: only another connection can be.
      this.lose(new ConnectionLostError("another subject signed in"));
      this.connect();
    } else this.askTokenLater();
  }

  // The token.

  /** Ask for a token, and send it: the first, or another than the one that is in use, before `until`. */
  private askToken(until: number): void {
    this.tokenAgainAt = undefined;
    this.tokenUntil = until;
    if (this.tokenAsked) return; // one refresh at a time
    this.tokenAsked = true;
    this.actions.push({ do: "token", request: ++this.tokenRequest });
  }

  private askTokenLater(): void {
    const at = this.options.now() + this.tokenBackoff.next();
    if (at < this.tokenUntil) this.tokenAgainAt = at;
  }

  /** Take a token: undefined if the client has none. */
  tokenArrived(request: number, token: string | undefined | TidingsError): void {
    if (request !== this.tokenRequest) return;
    this.tokenAsked = false;
    const inside = this.phase === "open";
    if (token instanceof Error) {
      if (token.code === "signed_out") this.signedOut(token);
      else if (inside) this.askTokenLater();
      else this.lose(token);
    } else if (inside) {
      if (token === undefined || token === this.sentToken) this.askTokenLater();
      else this.sendToken(token);
    } else if (token === undefined) {
      const message = "the hub asks for a token";
      const hint = "Pass the option `token`, or call `signIn`.";
      this.refuse(new CredentialError({ code: "unauthenticated", message, recoverable: false, hint }));
    } else if (token === this.refusedToken && this.refusal !== undefined) this.onRefused(this.refusal);
    else this.sendToken(token);
  }

  private sendToken(token: string): void {
    this.sentToken = token;
    this.send("auth:token", TOKEN_ID, { token });
  }

  private onAuthenticated(data: AuthSuccess): void {
    this.tokenBackoff.reset();
    this.access = {
      subject: data.subject,
      grants: data.grants,
      ...(data.expires_at === undefined ? {} : { expiresAt: data.expires_at }),
    };
    if (data.removed?.length) this.subscriptions.withdraw(data.removed);
    if (this.phase === "authenticating") this.enter();
  }

  private onAuthFailed(data: Refusal): void {
    const error = makeHubError(data, 401);
    if (this.phase === "open" && error.recoverable) {
      this.sentToken = undefined; // the hub could not verify it now: send it again
      this.askTokenLater();
    } else this.refusal = error;
  }

  /** The hub has refused the token: try again if the source may have another. */
  private onRefused(error: TidingsError): void {
    this.refusedToken = this.sentToken;
    this.refusals += 1;
    if (this.renewable && this.refusals < MAX_REFUSALS) {
      this.lose(error);
      this.refusal = error;
    } else this.refuse(error);
  }

  /** Whether the source of the token may have another one. */
  renewable = false;

  // The state.

  private note(attempt: Reconnect): void {
    this.attempts = [...this.attempts, attempt].slice(-MAX_ATTEMPTS);
  }

  private settleAttempt(outcome: Reconnect["outcome"]): void {
    const last = this.attempts.at(-1);
    if (last?.outcome === "pending") this.attempts = [...this.attempts.slice(0, -1), { ...last, outcome }];
  }

  private describe(): ConnectionState {
    const { phase, state: before } = this;
    let { reason } = this;
    let state: ConnectionState["state"] = this.admittedNow ? "stale" : "connecting";
    if (phase === "closed") state = "closed";
    else if (phase === "open") {
      const stale = this.liveness?.stale ?? false;
      const caughtUp = this.subscriptions.caughtUp;
      state = stale ? "stale" : caughtUp ? "live" : "catching-up";
      reason = { code: stale ? "silent" : caughtUp ? "connected" : "catching-up" };
      if (caughtUp) this.admittedNow = true;
    } else if (reason.code === "lost" && !this.online) reason = { ...reason, code: "offline" };
    const sameReason = reason.code === before.reason.code && reason.error === before.reason.error;
    const waiting = phase === "waiting" ? this.phaseUntil : undefined;
    const silent = state === "stale" || state === "closed";
    const next: ConnectionState = {
      state,
      since: state === before.state && before.reason.code !== "idle" ? before.since : this.options.wall(),
      reason: sameReason ? before.reason : Object.freeze(reason),
      ...(silent && this.heardAt !== undefined
        ? { heardAt: before.state === state ? (before.heardAt ?? this.heardAt) : this.heardAt }
        : {}),
      ...(waiting === undefined ? {} : { retryAt: this.retryAt(waiting) }),
      attempts: this.attempts,
      ...this.access,
      ...(this.hub === undefined ? {} : { hub: this.hub }),
    };
    return equal(before, next) ? before : Object.freeze(next);
  }

  private retryAtOf: { until: number; at: number } | undefined;

  private retryAt(until: number): number {
    if (this.retryAtOf?.until !== until) {
      this.retryAtOf = { until, at: Math.round(this.options.wall() + until - this.options.now()) };
    }
    return this.retryAtOf.at;
  }
}

function equal(a: ConnectionState, b: ConnectionState): boolean {
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]) as Set<keyof ConnectionState>;
  for (const key of keys) if (a[key] !== b[key]) return false;
  return true;
}

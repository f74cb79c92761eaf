/**
 * One logical connection to a hub over any number of sockets, without I/O: inputs in, actions out.
 *
 * Nothing awaits; clocks and randomness are arguments. The owner calls the inputs, then performs the actions of
 * `take`, and calls `tick` at `deadline`. Each socket has a generation; inputs of earlier ones are ignored, so that
 * there is never more than one connection, however its triggers race.
 */
import type { Action, Phase, SessionOptions } from "./actions.ts";
import { Authentication } from "./authentication.ts";
import { Backoff } from "./backoff.ts";
import {
  type ConnectionReason,
  type ConnectionState,
  type ConnectionStateName,
  type HubFacts,
  IDLE,
  type ReasonCode,
  type Reconnect,
} from "./connection.ts";
import {
  ConnectionLostError,
  CredentialError,
  HubClosedError,
  HubError,
  makeHubError,
  NotAHubError,
  type TidingsError,
} from "./errors.ts";
import type { Sink } from "./items.ts";
import { Liveness, WAKE_STALE_MS } from "./liveness.ts";
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
import { BUILT_IN_CONTRACT, type KeyFields } from "./paths.ts";
import { addAttempt, describe, settleAttempt } from "./status.ts";
import type { Subscription } from "./subscription.ts";
import { Subscriptions } from "./subscriptions.ts";

/** Time in which a socket must open, and then the hub must greet, and in which a failure is explained. */
const OPEN_MS = 10_000;
/** Time that a connection attempt gets after the device woke up: it may hang since before. */
const WAKE_OPEN_MS = 3_000;
/** Time for which a connection without a user is kept: a page that changes leaves and comes back. */
const LINGER_MS = 1_000;
/** The longest delay that a hub may ask for: a wrong number must not keep a client away for weeks. */
const MAX_RETRY_AFTER_MS = 300_000;
/** Begins the types of a hub's first message: one that is opening its log closes the connection without a greeting. */
const GREETING = "connection:";
const REJECTED = 4001;
const PING_ID = "ping";

export class Session {
  /** State as the application shows it; the same object until it changes. */
  state: ConnectionState = IDLE;
  readonly subscriptions: Subscriptions;
  readonly authentication: Authentication;
  /** WebSockets in a row that did not open, although the hub answers requests. */
  blocked = 0;
  /** When the hub was last heard, in milliseconds since 1970 by this device's clock. */
  heardAt: number | undefined;
  readonly #options: SessionOptions;
  readonly #backoff: Backoff;
  readonly #actions: Action[] = [];
  #phase: Phase = "idle";
  #streaming = false;
  #generation = 0;
  #visible: boolean;
  #online = true;
  #users = 0;
  #liveness: Liveness | undefined;
  /** When the phase must have changed. */
  #phaseUntil: number | undefined;
  #retryAt: number | undefined;
  #lingerUntil: number | undefined;
  #establishedAt: number | undefined;
  /** Whether the hub asked for the delay before the next connection. */
  #delayed = false;
  #reason: ConnectionReason = { code: "idle" };
  #attempts: readonly Reconnect[] = [];
  #hub: HubFacts | undefined;
  /** Whether the connection changes in a way that the application need not know about. */
  #quiet = false;
  /** Until when that may last. */
  #quietUntil = 0;
  #notice: Closed | undefined;
  #keys: "unknown" | "asked" | "known" = "unknown";
  /** Whether nothing has happened but events of the log on a live connection: the state is what it was. */
  #steady = false;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#visible = options.visible;
    this.#backoff = new Backoff(options.policy, options.random);
    const send = (type: string, id: string, data: unknown): void => {
      if (!this.#streaming) this.#actions.push({ do: "send", text: JSON.stringify({ type, id, data }) });
    };
    this.authentication = new Authentication(
      {
        now: options.now,
        ask: (request) => this.#actions.push({ do: "token", request }),
        send,
        reconnect: (error) => {
          this.#lose(error);
          this.#connect();
        },
        lose: (error) => this.#lose(error),
        refuse: (error) => this.#refuse(error),
        signedOut: (error) => this.signedOut(error),
      },
      new Backoff(options.policy, options.random),
    );
    this.subscriptions = new Subscriptions({
      send,
      open: (paths, since) => this.#open(paths, since),
      backfill: (request) => this.#actions.push({ do: "backfill", request }),
      deliver: (subscription, items) => this.#actions.push({ do: "deliver", subscription, items }),
      end: (subscription, error) => this.#actions.push({ do: "end", subscription, error }),
      retry: (error, retryAfterMs) => this.#lose(error, retryAfterMs),
    });
  }

  /** Return the next action; undefined if there is none. */
  take(): Action | undefined {
    const action = this.#actions.shift();
    if (action === undefined) {
      const steady = this.#steady && this.#phase === "open" && !this.#liveness?.stale;
      if (!steady) this.state = this.#describe();
      this.#steady = false;
    }
    return action;
  }

  // Users.

  /** Read some paths; call `flush` when all that begin together are added. */
  add(paths: readonly string[], since: string, sink: Sink): Subscription {
    const subscription = this.subscriptions.add(paths, since, sink);
    if (this.#phase === "closed") this.#endWatches();
    return subscription;
  }

  /** Take over a watch of another connection. The application is not told of the first one. */
  adopt(subscription: Subscription): void {
    this.subscriptions.adopt(subscription);
    if (this.#phase === "idle") this.#hush();
  }

  /** Keep the connection for one more, or one less, who does not read: `change` is 1 or -1. */
  use(change: number): void {
    this.#users += change;
  }

  /** Whether there is a connection, or will be one by itself. */
  get #active(): boolean {
    return this.#phase !== "idle" && this.#phase !== "closed";
  }

  get #wanted(): boolean {
    return this.#users > 0 || this.subscriptions.size > 0;
  }

  /** Do what the users who came and went need; `connected`: there is a transport, which may still open. */
  flush(connected?: boolean): void {
    if (this.#wanted) this.#lingerUntil = undefined;
    else if (this.#active) this.#lingerUntil ??= this.#options.now() + LINGER_MS;
    if (this.#phase === "idle" && this.#wanted) this.#connect();
    else if (this.#phase === "preparing" || (this.#phase === "open" && !this.#streaming)) this.#subscribe();
    else if (connected && this.subscriptions.hasNew && this.#streaming) this.reopen();
  }

  /** Read what is not read yet, as soon as the key fields are known, if they are needed. */
  #subscribe(): void {
    if (this.#keys !== "known" && this.subscriptions.needsKeys) {
      if (this.#keys === "unknown") this.#actions.push({ do: "keys", generation: this.#generation });
      this.#keys = "asked";
    } else if (this.#streaming) this.subscriptions.prepare();
    else this.subscriptions.flush();
  }

  /** Take the key fields of the hub's contract; undefined if they could not be read. */
  keysArrived(generation: number, fields: KeyFields | undefined): void {
    if (generation !== this.#generation) return;
    if (fields === undefined) {
      this.#lose(new ConnectionLostError("the contract could not be read"));
      return;
    }
    this.subscriptions.keyFields = fields;
    this.#keys = "known";
    this.flush();
  }

  // The connection.

  /** Use event streams over HTTP from now on, or WebSockets. */
  stream(on: boolean): void {
    if (this.#streaming === on) return;
    this.#streaming = on;
    this.blocked = 0;
    if (this.#active) this.reopen();
  }

  #connect(): void {
    this.#end();
    const { code, error } = this.#reason;
    if (code === "idle") this.#reason = { code: "connecting" };
    else if (!this.#quiet) this.#attempts = addAttempt(this.#attempts, this.#options.wall(), error?.message ?? code);
    if (!this.#streaming) this.#open([], "");
    else if (!this.#visible) this.#suspend();
    else {
      this.#enterPhase("preparing");
      this.#subscribe();
    }
  }

  #open(paths: readonly string[], since: string): void {
    this.#enterPhase("connecting");
    this.#actions.push({ do: "connect", generation: this.#generation, paths, since });
  }

  #enterPhase(phase: Phase): void {
    this.#phase = phase;
    this.#phaseUntil = this.#options.now() + OPEN_MS;
  }

  /** Replace the connection: for other paths, with another token, at another pace, or by one of the other transport. */
  reopen(quietMs?: number): void {
    if (this.#phase === "open") this.#hush(quietMs);
    this.#connect();
  }

  /** Let the application not know, for a time, that the connection changes. */
  #hush(ms = OPEN_MS): void {
    this.#quiet = true;
    this.#quietUntil = this.#options.now() + ms;
  }

  /** Give the connection up; the application may know. */
  #drop(): void {
    this.#settle("failed");
    this.#quiet = false;
    this.#end();
  }

  /** Drop the connection and what depends on it. */
  #end(): void {
    this.#actions.push({ do: "disconnect" });
    this.#generation += 1;
    this.#liveness = this.#notice = this.#phaseUntil = this.#retryAt = undefined;
    if (this.#keys === "asked") this.#keys = "unknown";
    this.authentication.lost();
    this.subscriptions.lost(this.#quiet);
  }

  /** The socket is open. */
  opened(generation: number): void {
    if (generation !== this.#generation || this.#phase !== "connecting") return;
    this.#enterPhase("greeting");
  }

  /** No connection could be opened, for a known reason. */
  failed(generation: number, error: TidingsError): void {
    if (generation !== this.#generation) return;
    const ofWatches = error instanceof HubError && !(error instanceof CredentialError) && !error.recoverable;
    if (this.#streaming && ofWatches && this.subscriptions.refused(error)) this.reopen();
    else if (error.code === "signed_out") this.signedOut(error);
    else if (error.recoverable || (this.#options.holds() && !(error instanceof CredentialError))) {
      this.#lose(error, error instanceof HubError ? error.retryAfterMs : 0);
    } else this.#refuse(error);
  }

  /** The socket has closed, or did not open. */
  closed(generation: number, code: number, reason: string): void {
    if (generation !== this.#generation) return;
    if (this.#phase === "connecting") {
      this.#diagnose();
      return;
    }
    // The notice tells what the close code would, if the socket ended without one.
    const notice = this.#notice;
    const ended = code === 1005 || code === 1006 ? (notice?.code ?? code) : code;
    const text = notice?.reason || reason;
    const suffix = text && `: ${text}`;
    const { refusal } = this.authentication;
    this.authentication.refusal = undefined;
    if (ended === REJECTED) {
      this.authentication.onClosed(refusal ?? new HubClosedError(`the hub refuses the token${suffix}`, ended));
    } else if (!mayReconnect(ended) || notice?.reconnect === false) {
      const error = refusal ?? new HubClosedError(`the hub ended the connection (${ended})${suffix}`, ended);
      this.#refuse(error);
    } else {
      const retryAfterMs = Math.min(notice?.retry_after_ms ?? 0, MAX_RETRY_AFTER_MS);
      this.#lose(refusal ?? new ConnectionLostError(text || `the connection ended (${ended})`, ended), retryAfterMs);
    }
  }

  #diagnose(): void {
    this.#actions.push({ do: "disconnect" });
    this.#enterPhase("diagnosing");
    this.#actions.push({ do: "diagnose", generation: this.#generation });
  }

  /** It is known why no socket opened; undefined: the hub is well, and the next try may succeed. */
  diagnosed(generation: number, error: TidingsError | undefined): void {
    if (generation !== this.#generation || this.#phase !== "diagnosing") return;
    this.blocked = error === undefined ? this.blocked + 1 : 0;
    this.failed(generation, error ?? new ConnectionLostError("no WebSocket opened, though the hub answers"));
  }

  /** Give the connection up, and connect again after a delay. */
  #lose(error: TidingsError, retryAfterMs = 0): void {
    const now = this.#options.now();
    const lastedMs = now - (this.#establishedAt ?? now);
    this.#establishedAt = undefined;
    this.#drop();
    this.#reason = { code: "lost", error };
    this.#phase = "waiting";
    this.#delayed = retryAfterMs > 0;
    const delay = this.#backoff.next(lastedMs, retryAfterMs);
    this.#phaseUntil = now + delay;
    this.#retryAt = Math.round(this.#options.wall() + delay);
  }

  /** End until the application signs in, tries again, or for good. */
  #refuse(error: TidingsError, code: ReasonCode = "refused"): void {
    this.#drop();
    this.#phase = "closed";
    this.#reason = { code, error };
    this.#endWatches();
  }

  #endWatches(): void {
    const { code, error } = this.#reason;
    if (error === undefined || code === "signed-out") return;
    for (const subscription of [...this.subscriptions]) {
      if (code !== "closed" && subscription.sink.persistent) continue;
      this.subscriptions.remove(subscription);
      this.#actions.push({ do: "end", subscription, error });
    }
  }

  /** Disconnect, because no one needs the connection. */
  rest(): void {
    this.#drop();
    this.#phase = "idle";
    this.#lingerUntil = undefined;
    this.#reason = { code: "idle" };
  }

  /** Disconnect until the page is shown again. */
  #suspend(): void {
    this.#drop();
    this.#phase = "suspended";
    this.#reason = { code: "hidden" };
  }

  // The application.

  /** Connect now rather than later, also after a refusal. */
  retryNow(): void {
    if (this.#phase === "closed" && this.#reason.code !== "closed") {
      this.#phase = "idle";
      this.#reason = { code: "idle" };
      this.#backoff.reset();
      this.flush();
    } else if (this.#phase === "waiting") this.#connect();
    else this.wake();
  }

  /** The source of the token has changed. */
  signedIn(): void {
    if (this.#streaming && this.#phase === "open") this.reopen();
    else if (this.#phase === "open" || this.#phase === "authenticating") this.authentication.replaced();
    else {
      this.authentication.forget();
      if (this.#phase === "closed" || this.#phase === "waiting") this.retryNow();
    }
  }

  /** Disconnect, because the client no longer has a token. */
  signedOut(error: TidingsError): void {
    if (this.#phase === "closed" && this.#reason.code === "closed") return;
    this.authentication.forget();
    this.#refuse(error, "signed-out");
  }

  /** Disconnect for good. */
  close(error: TidingsError): void {
    this.#refuse(error, "closed");
  }

  // The page and the device.

  /** The page is visible, or hidden: then a stream is released, because a browser has few connections for all tabs. */
  show(visible: boolean): void {
    this.#visible = visible;
    this.#liveness?.show(visible, this.#options.now());
    if (visible) this.#hurry();
    else if (this.#streaming) this.freeze();
  }

  /** The page is about to be kept in memory, where a connection would prevent that, or die. */
  freeze(): void {
    if (this.#active) this.#suspend();
  }

  /** The device may have slept: probe once. */
  wake(): void {
    if (this.#streaming && this.#phase === "open") this.reopen(WAKE_STALE_MS);
    else this.#liveness?.wake(this.#options.now());
    this.#hurry();
  }

  /** The device has a network, or none, by its own account. */
  network(online: boolean): void {
    this.#online = online;
    if (online) this.wake();
    else if (!this.#streaming) this.#liveness?.wake(this.#options.now());
    else if (this.#phase === "open") {
      // A stream cannot be probed: another one is opened, and shows whether the device is right.
      this.#quiet = false;
      this.#reason = { code: "offline" };
      this.#connect();
    }
  }

  #hurry(): void {
    const phase = this.#phase;
    if (phase === "suspended" || (phase === "waiting" && !this.#delayed)) this.#connect();
    else if (phase !== "waiting" && this.#phaseUntil !== undefined) {
      this.#phaseUntil = Math.min(this.#phaseUntil, this.#options.now() + WAKE_OPEN_MS);
    }
  }

  // Time.

  /** When `tick` must be called; undefined if there is nothing to wait for. */
  get deadline(): number | undefined {
    const times = [
      this.#phaseUntil,
      this.#lingerUntil,
      this.#liveness?.deadline,
      this.authentication.deadline,
      this.#quiet ? this.#quietUntil : undefined,
    ];
    const earliest = Math.min(...times.map((time) => time ?? Number.POSITIVE_INFINITY));
    return earliest === Number.POSITIVE_INFINITY ? undefined : earliest;
  }

  /** Handle the passing of time. */
  tick(): void {
    const now = this.#options.now();
    if (now >= (this.#lingerUntil ?? Number.POSITIVE_INFINITY)) this.rest();
    if (now >= (this.#phaseUntil ?? Number.POSITIVE_INFINITY)) this.#overdue();
    if (this.#quiet && now >= this.#quietUntil) {
      this.#quiet = false;
      this.#reason = { code: "silent" };
    }
    this.authentication.tick();
    const verdict = this.#liveness?.tick(now);
    if (verdict === "ping") this.#actions.push({ do: "send", text: `{"type":"connection:ping","id":"${PING_ID}"}` });
    if (verdict === "lost") this.#lose(new ConnectionLostError("the hub does not answer"));
  }

  #overdue(): void {
    const phase = this.#phase;
    if (phase === "waiting") this.#connect();
    else if (phase === "connecting" || phase === "greeting") this.#diagnose();
    else this.#lose(new ConnectionLostError("the hub does not answer"));
  }

  // Messages.

  /** Note a sign of life that is not a message. */
  heard(generation: number): void {
    if (generation !== this.#generation) return;
    this.#hear(false);
  }

  #hear(pong: boolean): void {
    this.#liveness?.heard(this.#options.now(), pong);
    this.heardAt = this.#options.wall();
  }

  /** Handle a message. */
  received(generation: number, text: string): void {
    if (generation !== this.#generation) return;
    const message = parseMessage(text);
    this.#steady = this.state.state === "live" && message?.position !== undefined;
    this.#hear(message?.reply_to === PING_ID);
    if (this.#streaming && this.#phase === "greeting" && message !== undefined) this.#enterStream(message);
    if (message === undefined || (this.#phase === "greeting" && !message.type.startsWith(GREETING))) {
      this.failed(generation, new NotAHubError("the server at the URL does not speak tidings"));
    } else if (!this.subscriptions.received(message)) this.#onMessage(message);
    else if (message.type === "channel:live" && this.subscriptions.caughtUp) {
      this.#settle(this.subscriptions.outcome);
      this.#quiet = false;
    }
  }

  #onMessage({ data, reply_to, type }: Message): void {
    switch (type) {
      case "connection:established":
        this.#onEstablished(data as Established);
        break;
      case "connection:pong":
      case "connection:position":
        this.#options.clock.set((data as { now: string }).now);
        break;
      case "connection:closed":
        this.#notice = data as Closed;
        break;
      case "connection:error":
        // Without an id it is the reason, if the connection is closed now.
        if (!this.authentication.onError(reply_to, data as Refusal) && reply_to === undefined) {
          this.authentication.refusal = makeHubError(data as Refusal);
        }
        break;
      case "auth:required":
        if (this.#phase === "open")
          this.authentication.ask(this.#options.now() + (data as AuthRequired).deadline_s * 1000);
        break;
      case "auth:success":
        this.#onAuthenticated(data as AuthSuccess);
        break;
      case "auth:failed":
        this.authentication.onFailed(data as Refusal);
    }
  }

  #onEstablished(data: Established): void {
    const { auth, channels, connection_id: connectionId, contract, now, position } = data;
    if (this.#hub?.contractHash !== contract.hash) {
      this.subscriptions.keyFields = undefined;
      this.#keys = contract.hash === BUILT_IN_CONTRACT ? "known" : "unknown";
    }
    const { hash: contractHash, version: contractVersion } = contract;
    this.#hub = Object.freeze({ connectionId, contractVersion, contractHash, channels });
    this.subscriptions.head = position;
    this.#greeted(now);
    this.blocked = 0;
    if (auth === "required") {
      this.#phase = "authenticating";
      this.authentication.ask(0);
    } else this.#enter(auth);
  }

  #greeted(hubTime: string): void {
    const now = this.#options.now();
    this.#establishedAt = now;
    this.#phaseUntil = undefined;
    this.#options.clock.reset(hubTime);
    this.#liveness = new Liveness(now, this.#visible, !this.#streaming);
  }

  #enter(subject?: string): void {
    this.#phase = "open";
    this.authentication.entered(subject);
    this.subscriptions.opened();
    if (this.subscriptions.size === 0) this.#settle("live");
    this.#subscribe();
  }

  /** A stream has no greeting; its first message is as good. */
  #enterStream({ timestamp }: Message): void {
    this.#greeted(timestamp);
    this.#phase = "open";
    this.authentication.entered();
  }

  #onAuthenticated(data: AuthSuccess): void {
    this.authentication.onSuccess(data);
    if (data.removed?.length) this.subscriptions.withdraw(data.removed);
    if (this.#phase === "authenticating") this.#enter();
  }

  /** Take a token for the request of a `token` action; see `Authentication.arrived`. */
  tokenArrived(request: number, token: string | undefined | TidingsError): void {
    if (this.authentication.arrived(request, token) && this.#streaming) this.reopen();
  }

  // The state.

  #settle(outcome: Reconnect["outcome"]): void {
    this.#attempts = settleAttempt(this.#attempts, outcome);
  }

  #describe(): ConnectionState {
    const [state, reason] = this.#judge();
    return describe(this.state, {
      state,
      since: this.#options.wall(),
      reason,
      heardAt: this.heardAt,
      retryAt: this.#retryAt,
      attempts: this.#attempts,
      transport: this.#phase === "open" ? (this.#streaming ? "sse" : "websocket") : this.state.transport,
      hub: this.#hub,
      ...this.authentication.access,
    });
  }

  #judge(): [ConnectionStateName, ConnectionReason] {
    const phase = this.#phase;
    const reason = this.#reason;
    if (phase === "closed") return ["closed", reason];
    if (phase === "open" && this.#liveness?.stale) return ["stale", { code: "silent" }];
    if (this.#quiet) return [this.state.state, this.state.reason];
    if (phase !== "open") {
      const offline = reason.code === "lost" && !this.#online;
      return [this.#options.holds() ? "stale" : "connecting", offline ? { ...reason, code: "offline" } : reason];
    }
    return this.subscriptions.caughtUp ? ["live", { code: "connected" }] : ["catching-up", { code: "catching-up" }];
  }
}

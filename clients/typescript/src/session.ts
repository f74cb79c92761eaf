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
import { NEVER } from "./clock.ts";
import { type ConnectionReason, type ConnectionState, IDLE, type ReasonCode } from "./connection.ts";
import { ConnectionLostError, CredentialError, HubError, NotAHubError, type TidingsError } from "./errors.ts";
import type { Sink } from "./items.ts";
import { WAKE_STALE_MS } from "./liveness.ts";
import {
  type Closed,
  type Established,
  MAX_RETRY_AFTER_MS,
  type Message,
  parseMessage,
  REJECTED,
  readEnd,
} from "./messages.ts";
import { BUILT_IN_CONTRACT, type KeyFields, NO_KEY_FIELDS } from "./paths.ts";
import { Phases } from "./phases.ts";
import { ConnectionStatus } from "./status.ts";
import type { PlanStream } from "./stream.ts";
import type { Subscription } from "./subscription.ts";
import { Subscriptions } from "./subscriptions.ts";

/** Begins the types of a hub's first message: one that is opening its log closes the connection without a greeting. */
const GREETING = "connection:";
const PING_ID = "ping";

export class Session {
  readonly status: ConnectionStatus;
  /** Number of the current socket: inputs that come from an earlier one must not reach the session. */
  generation = 0;
  readonly subscriptions: Subscriptions;
  readonly authentication: Authentication;
  /** WebSockets in a row that did not open, although the hub answers requests. */
  blocked = 0;
  readonly #options: SessionOptions;
  readonly #phases: Phases;
  readonly #actions: Action[] = [];
  #streaming = false;
  #users = 0;
  #notice: Closed | undefined;
  /** Whether nothing has happened but events of the log on a live connection: the state is what it was. */
  #steady = false;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.status = new ConnectionStatus(options);
    this.#phases = new Phases(options);
    const act = (action: Action): void => void this.#actions.push(action);
    const send = (type: string, id: string, data: unknown): void => {
      if (!this.#streaming) act({ do: "send", text: JSON.stringify({ type, id, data }) });
    };
    this.authentication = new Authentication(
      {
        now: options.now,
        act,
        send,
        reconnect: (error) => {
          this.#lose(error);
          this.#connect();
        },
        accepted: (removed) => {
          this.subscriptions.withdraw(removed);
          if (this.#phase === "authenticating") this.#enter();
        },
        lose: (error) => this.#lose(error),
        refuse: (error) => this.#refuse(error),
        signedOut: (error) => this.signedOut(error),
      },
      new Backoff(options.policy, options.random),
    );
    this.subscriptions = new Subscriptions({
      act,
      send,
      ask: (what) => act({ do: what, generation: this.generation }),
      open: (paths, since) => this.#open(paths, since),
      retry: (error, retryAfterMs) => this.#lose(error, retryAfterMs),
    });
  }

  get state(): ConnectionState {
    return this.status.state;
  }

  get #phase(): Phase {
    return this.#phases.current;
  }

  /** Return the next action; undefined if there is none. */
  take(): Action | undefined {
    const action = this.#actions.shift();
    if (action === undefined) {
      const steady = this.#steady && this.#phase === "open" && !this.#phases.liveness?.stale;
      if (!steady) {
        this.status.update(
          this.#phase,
          this.#phases.liveness?.stale,
          this.subscriptions.caughtUp,
          this.#streaming,
          this.authentication.access,
        );
      }
      this.#steady = false;
    }
    return action;
  }

  // Users.

  /** Read some paths; call `flush` when all that begin together are added. */
  add(paths: readonly string[], since: string, sink: Sink): Subscription {
    const subscription = this.subscriptions.begin(paths, since, sink);
    if (this.#phase === "closed") this.#endWatches();
    return subscription;
  }

  /** Take over a watch of another connection. The application is not told of the first one. */
  adopt(subscription: Subscription): void {
    this.subscriptions.add(subscription);
    if (this.#phase === "idle") this.status.hush();
  }

  /** Keep the connection for one more, or one less, who does not read: `change` is 1 or -1. */
  use(change: number): void {
    this.#users += change;
  }

  get #wanted(): boolean {
    return this.#users > 0 || this.subscriptions.size > 0;
  }

  /** Do what the users who came and went need; `connected`: there is a transport, which may still open. */
  flush(connected?: boolean): void {
    this.#phases.linger(this.#wanted);
    if (this.#phase === "idle" && this.#wanted) this.#connect();
    else if (this.#phase === "preparing" || (this.#phase === "open" && !this.#streaming)) this.#subscribe();
    else if (connected && this.subscriptions.hasNew && this.#streaming) this.reopen();
  }

  #subscribe(): void {
    if (this.#streaming) this.subscriptions.prepare();
    else this.subscriptions.flush();
  }

  /** Take the key fields of the hub's contract. */
  keysArrived(fields: KeyFields): void {
    this.subscriptions.keyFields = fields;
    this.flush();
  }

  /** Take the plan of streams. */
  planned(plan: PlanStream): void {
    if (this.#phase === "preparing") this.subscriptions.start(plan);
  }

  // The connection.

  /** Use event streams over HTTP from now on, or WebSockets. */
  stream(on: boolean): void {
    if (this.#streaming === on) return;
    this.#streaming = on;
    this.blocked = 0;
    if (this.#phases.active) this.reopen();
  }

  #connect(): void {
    this.#end();
    this.status.connecting();
    if (!this.#streaming) this.#open([], "");
    else if (!this.#phases.visible) this.#suspend();
    else {
      this.#phases.enter("preparing");
      this.#subscribe();
    }
  }

  #open(paths: readonly string[], since: string): void {
    this.#phases.enter("connecting");
    this.#actions.push({ do: "connect", generation: this.generation, paths, since });
  }

  /** Replace the connection: for other paths, with another token, at another pace, or by one of the other transport. */
  reopen(quietMs?: number): void {
    if (this.#phase === "open") this.status.hush(quietMs);
    this.#connect();
  }

  /** Give the connection up; the application may know. */
  #drop(): void {
    this.status.settle("failed");
    this.status.quietUntil = NEVER;
    this.#end();
  }

  /** Drop the connection and what depends on it. */
  #end(): void {
    this.#actions.push({ do: "disconnect" });
    this.generation += 1;
    this.#notice = this.status.retryAt = undefined;
    this.#phases.end();
    this.authentication.lost();
    this.subscriptions.lost(this.status.quiet);
  }

  /** The socket is open. */
  opened(): void {
    if (this.#phase === "connecting") this.#phases.enter("greeting");
  }

  /** No connection could be opened, for a known reason. */
  failed(error: TidingsError): void {
    const ofWatches = error instanceof HubError && !(error instanceof CredentialError) && !error.recoverable;
    if (this.#streaming && ofWatches && this.subscriptions.refused(error)) this.reopen();
    else if (error.code === "signed_out") this.signedOut(error);
    else if (error.recoverable || (this.#options.holds() && !(error instanceof CredentialError))) {
      this.#lose(error, error instanceof HubError ? error.retryAfterMs : 0);
    } else this.#refuse(error);
  }

  /** The socket has closed, or did not open. */
  closed(code: number, reason: string): void {
    if (this.#phase === "connecting") {
      this.#diagnose();
      return;
    }
    const { refusal } = this.authentication;
    this.authentication.refusal = undefined;
    const end = readEnd(code, reason, this.#notice);
    const error = refusal ?? end;
    if (end.closeCode === REJECTED) this.authentication.onClosed(error);
    else if (end.recoverable) {
      this.#lose(error, Math.min(this.#notice?.retry_after_ms ?? 0, MAX_RETRY_AFTER_MS));
    } else this.#refuse(error);
  }

  #diagnose(): void {
    this.#actions.push({ do: "disconnect" });
    this.#phases.enter("diagnosing");
    this.#actions.push({ do: "diagnose", generation: this.generation });
  }

  /** It is known why no socket opened; undefined: the hub is well, and the next try may succeed. */
  diagnosed(error: TidingsError | undefined): void {
    if (this.#phase !== "diagnosing") return;
    this.blocked = error === undefined ? this.blocked + 1 : 0;
    this.failed(error ?? new ConnectionLostError("no WebSocket opened, though the hub answers"));
  }

  /** Give the connection up, and connect again after a delay. */
  #lose(error: TidingsError, retryAfterMs = 0): void {
    this.#drop();
    this.status.reason = { code: "lost", error };
    this.status.retryAt = Math.round(this.#options.wall() + this.#phases.wait(retryAfterMs));
  }

  /** End until the application signs in, tries again, or for good. */
  #refuse(error: TidingsError, code: ReasonCode = "refused"): void {
    this.#leave("closed", { code, error });
    this.#endWatches();
  }

  #endWatches(): void {
    const { code, error } = this.status.reason;
    if (error !== undefined && code !== "signed-out") this.subscriptions.end(error, code === "closed");
  }

  /** Disconnect, because no one needs the connection. */
  rest(): void {
    this.#leave("idle", IDLE.reason);
    this.#phases.lingerUntil = NEVER;
  }

  /** Disconnect until the page is shown again. */
  #suspend(): void {
    this.#leave("suspended", { code: "hidden" });
  }

  #leave(phase: Phase, reason: ConnectionReason): void {
    this.#drop();
    this.#phases.current = phase;
    this.status.reason = reason;
  }

  // The application.

  /** Connect now rather than later, also after a refusal. */
  retryNow(): void {
    if (this.#phase === "closed" && this.status.reason.code !== "closed") {
      this.#phases.reset();
      this.status.reason = IDLE.reason;
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
    if (this.#phase === "closed" && this.status.reason.code === "closed") return;
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
    this.#phases.show(visible);
    if (visible) this.#hurry();
    else if (this.#streaming) this.freeze();
  }

  /** The page is about to be kept in memory, where a connection would prevent that, or die. */
  freeze(): void {
    if (this.#phases.active) this.#suspend();
  }

  /** The device may have slept: probe once. */
  wake(): void {
    if (this.#streaming && this.#phase === "open") this.reopen(WAKE_STALE_MS);
    else this.#phases.wake();
    this.#hurry();
  }

  /** The device has a network, or none, by its own account. */
  network(online: boolean): void {
    this.status.online = online;
    if (online) this.wake();
    else if (!this.#streaming) this.#phases.wake();
    else if (this.#phase === "open") {
      // A stream cannot be probed: another one is opened, and shows whether the device is right.
      this.status.quietUntil = NEVER;
      this.status.reason = { code: "offline" };
      this.#connect();
    }
  }

  #hurry(): void {
    if (this.#phases.hurry()) this.#connect();
  }

  // Time.

  /** When `tick` must be called; `NEVER` if there is nothing to wait for. */
  get deadline(): number {
    return Math.min(this.#phases.deadline, this.authentication.deadline, this.status.quietUntil);
  }

  /** Handle the passing of time. */
  tick(): void {
    const now = this.#options.now();
    if (now >= this.#phases.lingerUntil) this.rest();
    if (now >= this.#phases.until) this.#overdue();
    if (now >= this.status.quietUntil) {
      this.status.quietUntil = NEVER;
      this.status.reason = { code: "silent" };
    }
    this.authentication.tick();
    const verdict = this.#phases.liveness?.tick(now);
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
  heard(pong = false): void {
    this.#phases.liveness?.heard(this.#options.now(), pong);
    this.status.heardAt = this.#options.wall();
  }

  /** Handle a message. */
  received(text: string): void {
    const message = parseMessage(text);
    this.#steady = this.state.state === "live" && message?.position !== undefined;
    this.heard(message?.reply_to === PING_ID);
    if (this.#streaming && this.#phase === "greeting" && message !== undefined) this.#enterStream(message);
    if (message === undefined || (this.#phase === "greeting" && !message.type.startsWith(GREETING))) {
      this.failed(new NotAHubError("the server at the URL does not speak tidings"));
    } else if (!this.subscriptions.received(message)) this.#onMessage(message);
    else if (message.type === "channel:live" && this.subscriptions.caughtUp) {
      this.status.settle(this.subscriptions.outcome);
      this.status.quietUntil = NEVER;
    }
  }

  #onMessage(message: Message): void {
    const { data } = message;
    switch (message.type) {
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
      default:
        this.authentication.received(message);
    }
  }

  #onEstablished(data: Established): void {
    const { auth, now, position } = data;
    if (this.status.greeted(data)) {
      this.subscriptions.keyFields = data.contract.hash === BUILT_IN_CONTRACT ? NO_KEY_FIELDS : undefined;
    }
    this.subscriptions.head = position;
    this.#greeted(now);
    this.blocked = 0;
    if (auth === "required") {
      this.#phases.current = "authenticating";
      this.authentication.ask(0);
    } else this.#enter(auth);
  }

  #greeted(hubTime: string): void {
    this.#phases.established(!this.#streaming);
    this.#options.clock.reset(hubTime);
  }

  #enter(subject?: string): void {
    this.#phases.current = "open";
    this.authentication.entered(subject);
    this.subscriptions.opened();
    if (this.subscriptions.size === 0) this.status.settle("live");
    this.#subscribe();
  }

  /** A stream has no greeting; its first message is as good. */
  #enterStream({ timestamp }: Message): void {
    this.#greeted(timestamp);
    this.#phases.current = "open";
    this.authentication.entered();
  }

  /** Take a token for the request of a `token` action; see `Authentication.arrived`. */
  tokenArrived(request: number, token: string | undefined | TidingsError): void {
    if (this.authentication.arrived(request, token) && this.#streaming) this.reopen();
  }
}

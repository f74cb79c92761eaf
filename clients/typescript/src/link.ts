/** Performs the actions of one session: sockets, timers, tokens and requests. */

import type { Action, SessionOptions } from "./actions.ts";
import { NEVER } from "./clock.ts";
import type { Credentials } from "./credentials.ts";
import type { Environment, PageEvent } from "./environment.ts";
import { asTidingsError, type TidingsError } from "./errors.ts";
import type { Sink } from "./items.ts";
import { LATE_MS } from "./liveness.ts";
import type { Requests } from "./requests.ts";
import { Session } from "./session.ts";
import { callSafely } from "./store.ts";
import type { Backfill, Subscription } from "./subscription.ts";

/** One connection, whichever its transport. */
export interface Transport {
  send(text: string): void;
  /** Close it; its handlers are no longer called. */
  close(): void;
}

/** Called by a transport. */
export interface TransportHandlers {
  opened(): void;
  received(text: string): void;
  /** A sign of life came that is not a message. */
  heard(): void;
  /** No connection could be opened, for a known reason. */
  failed(error: TidingsError): void;
  closed(code: number, reason: string): void;
}

/** What a link needs of its client. */
export interface LinkPort {
  /** Open a connection; over a stream, of `paths` from `since`. */
  open(handlers: TransportHandlers, paths: readonly string[], since: string): Transport;
  /** Find out why no WebSocket opened; undefined if the hub is well. */
  diagnose(): Promise<TidingsError | undefined>;
  requests(): Promise<Requests>;
  changed(): void;
}

export class Link {
  readonly session: Session;
  readonly #environment: Environment;
  readonly #credentials: Credentials;
  readonly #port: LinkPort;
  #transport: Transport | undefined;
  #cancelTimer: (() => void) | undefined;
  #timerAt = NEVER;
  #unwatchPage: (() => void) | undefined;
  #running = false;
  #flushing = false;
  /** The watches of this link. */
  readonly #watches = new Set<Subscription>();
  /** The link that reads them: another one where there may be only one connection. */
  #host: Link = this;
  /** Difference of the two clocks, which jumps while the device sleeps. */
  #drift: number;

  constructor(environment: Environment, credentials: Credentials, options: SessionOptions, port: LinkPort) {
    this.#environment = environment;
    this.#credentials = credentials;
    this.#port = port;
    this.session = new Session(options);
    this.#drift = environment.wall() - environment.now();
  }

  /** Read `paths` until the returned function is called. */
  watch(paths: readonly string[], since: string, sink: Sink): () => void {
    const host = this.#host;
    host.#watchPage();
    const subscription = host.session.add(paths, since, sink);
    this.#watches.add(subscription);
    host.#flushSoon();
    host.#run();
    return () => {
      this.#watches.delete(subscription);
      this.#host.session.subscriptions.delete(subscription);
      this.#host.#flushSoon();
    };
  }

  /** Keep the connection without reading, until the returned function is called. */
  keep(): () => void {
    this.#watchPage();
    this.session.use(1);
    this.#flushSoon();
    return () => {
      this.session.use(-1);
      this.#flushSoon();
    };
  }

  /** Open the connection again, if there is one, because the next one is to another address. */
  reopen(): void {
    if (this.#transport) this.input((session) => session.reopen());
  }

  /** Give `input` to the session, and perform what follows. */
  input(input: (session: Session) => void): void {
    input(this.session);
    this.#run();
  }

  /** Give `input` to the session, unless it comes from an earlier socket. */
  #inputOf(generation: number, input: (session: Session) => void): void {
    if (generation === this.session.generation) this.input(input);
  }

  /** Let `host`, another link or this one, read the watches of this link from where they are, also those to come. */
  readOn(host: Link): void {
    const before = this.#host;
    const { session } = before;
    if (before === this) this.input(() => session.rest());
    this.#host = host;
    for (const subscription of this.#watches) {
      if (session.subscriptions.delete(subscription)) host.session.adopt(subscription);
      else this.#watches.delete(subscription); // it has ended
    }
    host.#watchPage();
    for (const link of [before, host]) link.#flushSoon();
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    this.#environment.soon(() => {
      this.#flushing = false;
      this.input((session) => session.flush(!!this.#transport));
    });
  }

  #run(): void {
    if (this.#running) return; // an action called the client: the loop below goes on with what it added
    this.#running = true;
    this.session.authentication.renewable = this.#credentials.renewable;
    const before = this.session.state;
    for (let action = this.session.take(); action !== undefined; action = this.session.take()) this.#perform(action);
    this.#running = false;
    this.#setTimer();
    const { state } = this.session;
    if (state === before) return;
    if (state.reason !== before.reason && state.reason.code === "idle") this.#leavePage();
    this.#port.changed();
  }

  #perform(action: Action): void {
    switch (action.do) {
      case "connect":
        this.#connect(action);
        break;
      case "disconnect":
        this.#transport?.close();
        this.#transport = undefined;
        break;
      case "send":
        this.#transport?.send(action.text);
        break;
      case "token":
        this.#askToken(action.request);
        break;
      case "diagnose":
        this.#diagnose(action.generation);
        break;
      case "keys":
        this.#ask(
          action.generation,
          (requests) => requests.fetchKeys(),
          (session, fields) => session.keysArrived(fields),
        );
        break;
      case "plan":
        this.#ask(
          action.generation,
          (requests) => requests.plan,
          (session, plan) => session.planned(plan),
        );
        break;
      case "backfill":
        this.#backfill(action.request);
        break;
      case "deliver":
        if (this.session.subscriptions.has(action.subscription)) {
          callSafely(() => action.subscription.sink.take(action.items));
        }
        break;
      case "end":
        callSafely(() => action.subscription.sink.end(action.error));
    }
  }

  #connect({ generation, paths, since }: Action & { readonly do: "connect" }): void {
    const handlers: TransportHandlers = {
      opened: () => this.#inputOf(generation, (session) => session.opened()),
      received: (text) => {
        this.#noticeSleep();
        this.#inputOf(generation, (session) => session.received(text));
      },
      heard: () => this.#inputOf(generation, (session) => session.heard()),
      failed: (error) => this.#inputOf(generation, (session) => session.failed(error)),
      closed: (code, reason) => this.#inputOf(generation, (session) => session.closed(code, reason)),
    };
    try {
      this.#transport = this.#port.open(handlers, paths, since);
    } catch (error) {
      this.session.failed(asTidingsError(error));
    }
  }

  async #askToken(request: number): Promise<void> {
    const token = await this.#credentials.renew().catch(asTidingsError);
    this.input((session) => session.tokenArrived(request, token));
  }

  /** Give what `ask` reads to the session, or why that is not possible. */
  async #ask<T>(
    generation: number,
    ask: (requests: Requests) => T | Promise<T>,
    input: (session: Session, answer: T) => void,
  ): Promise<void> {
    try {
      const answer = await ask(await this.#port.requests());
      this.#inputOf(generation, (session) => input(session, answer));
    } catch (error) {
      this.#inputOf(generation, (session) => session.failed(asTidingsError(error)));
    }
  }

  async #diagnose(generation: number): Promise<void> {
    const error = await this.#port.diagnose();
    this.#inputOf(generation, (session) => session.diagnosed(error));
  }

  async #backfill(request: Backfill): Promise<void> {
    try {
      const page = await (await this.#port.requests()).backfill(request);
      this.input((session) => session.subscriptions.backfilled(request, page));
    } catch (error) {
      this.input((session) => session.subscriptions.backfillFailed(request, asTidingsError(error)));
    }
  }

  // Time and the page.

  #setTimer(): void {
    const { deadline } = this.session;
    // Each message postpones the deadline; a timer that is too early only looks, and is set again.
    if (this.#timerAt <= deadline && deadline !== NEVER) return;
    this.#cancelTimer?.();
    this.#timerAt = deadline;
    if (deadline === NEVER) return;
    this.#cancelTimer = this.#environment.later(deadline - this.#environment.now(), () => {
      this.#timerAt = NEVER;
      this.#noticeSleep();
      this.input((session) => session.tick());
    });
  }

  /** Notice that the device has slept, or that its clock was set: the difference of the clocks jumps. */
  #noticeSleep(): void {
    const drift = this.#environment.wall() - this.#environment.now();
    const jumped = Math.abs(drift - this.#drift) > LATE_MS;
    this.#drift = drift;
    if (jumped) this.session.wake();
  }

  #watchPage(): void {
    if (this.#unwatchPage !== undefined) return;
    this.#unwatchPage = this.#environment.watchPage((event) => this.#onPage(event));
    this.session.show(this.#environment.visible());
  }

  /** Let the page forget a client that no one uses: it may have many, one after another. */
  #leavePage(): void {
    this.#unwatchPage?.();
    this.#unwatchPage = undefined;
  }

  #onPage(event: PageEvent): void {
    this.input((session) => {
      if (event === "shown" || event === "hidden") session.show(event === "shown");
      else if (event === "woken") session.wake();
      else if (event === "frozen") session.freeze();
      else session.network(event === "online");
    });
  }

  /** Free what the link holds; the session is closed. */
  dispose(): void {
    this.#leavePage();
    this.#cancelTimer?.();
  }
}

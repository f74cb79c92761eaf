/** Performs the actions of one session: sockets, timers, tokens and requests. */
import type { Credentials } from "./credentials.ts";
import type { Environment, PageEvent } from "./environment.ts";
import { TidingsError, TokenUnavailableError } from "./errors.ts";
import type { Sink } from "./items.ts";
import { LATE_MS } from "./liveness.ts";
import type { KeyFields } from "./paths.ts";
import { type Action, Session, type SessionOptions } from "./session.ts";
import { callSafely } from "./store.ts";
import type { Backfill, BackfillPage, Subscription } from "./subscriptions.ts";

/** One connection, whichever its transport. */
export interface Transport {
  send(text: string): void;
  /** Close it; none of its handlers is called any more. */
  close(): void;
}

/** Called by a transport. */
export interface TransportHandlers {
  opened(): void;
  received(text: string): void;
  closed(code: number, reason: string): void;
}

/** What a link needs of its client. */
export interface LinkPort {
  open(handlers: TransportHandlers): Transport;
  diagnose(): Promise<TidingsError | undefined>;
  fetchKeys(): Promise<KeyFields>;
  backfill(request: Backfill): Promise<BackfillPage>;
  changed(): void;
}

export class Link {
  readonly session: Session;
  private readonly environment: Environment;
  private readonly credentials: Credentials;
  private readonly port: LinkPort;
  private transport: Transport | undefined;
  private cancelTimer: (() => void) | undefined;
  private timerAt: number | undefined;
  private unwatchPage: (() => void) | undefined;
  private running = false;
  private flushing = false;
  /** Difference of the two clocks, which jumps while the device sleeps. */
  private drift: number;

  constructor(environment: Environment, credentials: Credentials, options: SessionOptions, port: LinkPort) {
    this.environment = environment;
    this.credentials = credentials;
    this.port = port;
    this.session = new Session(options);
    this.drift = environment.wall() - environment.now();
  }

  /** Read `paths` until the returned function is called. */
  watch(paths: readonly string[], since: string, sink: Sink): () => void {
    const subscription = this.session.add(paths, since, sink);
    this.flushSoon();
    this.run();
    return () => {
      this.session.remove(subscription);
      this.flushSoon();
    };
  }

  /** Keep the connection without reading, until the returned function is called. */
  keep(): () => void {
    this.session.use(1);
    this.flushSoon();
    return () => {
      this.session.use(-1);
      this.flushSoon();
    };
  }

  /** Give `input` to the session, and perform what follows. */
  input(input: (session: Session) => void): void {
    input(this.session);
    this.run();
  }

  private flushSoon(): void {
    if (this.flushing) return;
    this.flushing = true;
    this.environment.soon(() => {
      this.flushing = false;
      this.input((session) => session.flush());
    });
  }

  private run(): void {
    if (this.running) return; // an action called the client: the loop below goes on with what it added
    this.running = true;
    this.session.renewable = this.credentials.renewable;
    const before = this.session.state;
    for (let action = this.session.take(); action !== undefined; action = this.session.take()) this.perform(action);
    this.running = false;
    this.setTimer();
    if (this.session.state !== before) this.port.changed();
  }

  private perform(action: Action): void {
    switch (action.do) {
      case "connect":
        this.connect(action.generation);
        break;
      case "disconnect":
        this.transport?.close();
        this.transport = undefined;
        break;
      case "send":
        this.transport?.send(action.text);
        break;
      case "token":
        this.askToken(action.request);
        break;
      case "diagnose":
        this.transport?.close();
        this.transport = undefined;
        this.diagnose(action.generation);
        break;
      case "keys":
        this.port.fetchKeys().then(
          (fields) => this.input((session) => session.keysArrived(action.generation, fields)),
          () => this.input((session) => session.keysArrived(action.generation, undefined)),
        );
        break;
      case "backfill":
        this.backfill(action.request);
        break;
      case "deliver":
        this.deliver(action.subscription, () => action.subscription.sink.take(action.items));
        break;
      case "end":
        callSafely(() => action.subscription.sink.end(action.error));
    }
  }

  private deliver(subscription: Subscription, deliver: () => void): void {
    if (this.session.subscriptions.has(subscription)) callSafely(deliver);
  }

  private connect(generation: number): void {
    this.watchPage();
    try {
      this.transport = this.port.open({
        opened: () => this.input((session) => session.opened(generation)),
        received: (text) => {
          this.noticeSleep();
          this.input((session) => session.received(generation, text));
        },
        closed: (code, reason) => this.input((session) => session.closed(generation, code, reason)),
      });
    } catch (error) {
      this.session.closed(generation, 1006, String(error));
    }
  }

  private async askToken(request: number): Promise<void> {
    let token: string | undefined | TidingsError;
    try {
      token = await this.credentials.renew();
    } catch (error) {
      token = error instanceof TidingsError ? error : new TokenUnavailableError("no token", error);
    }
    this.input((session) => session.tokenArrived(request, token));
  }

  private async diagnose(generation: number): Promise<void> {
    const error = await this.port.diagnose();
    this.input((session) => session.diagnosed(generation, error));
  }

  private async backfill(request: Backfill): Promise<void> {
    try {
      const page = await this.port.backfill(request);
      this.input((session) => session.subscriptions.backfilled(request, page));
    } catch (error) {
      const failed = error instanceof TidingsError ? error : new TidingsError("client_error", String(error));
      this.input((session) => session.subscriptions.backfillFailed(request, failed));
    }
  }

  // Time and the page.

  private setTimer(): void {
    const { deadline } = this.session;
    if (deadline === this.timerAt) return;
    this.cancelTimer?.();
    this.cancelTimer = undefined;
    this.timerAt = deadline;
    if (deadline === undefined) return;
    this.cancelTimer = this.environment.later(deadline - this.environment.now(), () => {
      this.timerAt = this.cancelTimer = undefined;
      this.noticeSleep();
      this.input((session) => session.tick());
    });
  }

  /** Notice that the device has slept, or that its clock was set: the difference of the clocks jumps. */
  private noticeSleep(): void {
    const drift = this.environment.wall() - this.environment.now();
    const jumped = Math.abs(drift - this.drift) > LATE_MS;
    this.drift = drift;
    if (jumped) this.session.wake();
  }

  private watchPage(): void {
    this.unwatchPage ??= this.environment.watchPage((event) => this.onPage(event));
  }

  private onPage(event: PageEvent): void {
    this.input((session) => {
      if (event === "shown" || event === "hidden") session.show(event === "shown");
      else if (event === "woken") session.wake();
      else session.network(event === "online");
    });
  }

  /** Free what the link holds; the session is closed. */
  dispose(): void {
    this.unwatchPage?.();
    this.unwatchPage = undefined;
    this.cancelTimer?.();
    this.cancelTimer = undefined;
  }
}

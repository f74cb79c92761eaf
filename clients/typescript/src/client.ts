/** The client of one hub: its links, requests and watches. */
import { HubClock } from "./clock.ts";
import { type ConnectionState, IDLE } from "./connection.ts";
import { Credentials } from "./credentials.ts";
import { type Environment, makeEnvironment } from "./environment.ts";
import {
  asTidingsError,
  ClientClosedError,
  ConfigError,
  HubUnreachableError,
  SignedOutError,
  type TidingsError,
} from "./errors.ts";
import type { RawItem, Sink, WatchItem } from "./items.ts";
import { WatchIterator } from "./iterator.ts";
import { Link, type LinkPort, type Transport, type TransportHandlers } from "./link.ts";
import { LazyOperations } from "./operations/lazy.ts";
import type {
  Accepted,
  CancelOptions,
  CancelOutcome,
  ConnectOptions,
  Hub,
  PublishOptions,
  RequestOptions,
  TokenSupplier,
  WatchOptions,
} from "./options.ts";
import { simplify } from "./paths.ts";
import type { Requests } from "./requests.ts";
import type { Session } from "./session.ts";
import { callSafely, type Store, ValueStore } from "./store.ts";
import { type Addresses, resolveHubUrl } from "./url.ts";
import { openWebSocket } from "./websocket.ts";

const DEFAULT_BUFFER = 10_000;
/** States in the order in which they matter; a first try comes before them. */
const STATES = ["", "live", "catching-up", "connecting", "stale", "closed"];

/** Reads paths at a pace, and keeps on over reconnects and sign-ins; for stores of the client itself. */
export interface PacedSource {
  /** Read `paths` until the returned function is called. */
  watch(paths: readonly string[], since: string, sink: Sink): () => void;
  /** Read at another pace: at most one delivery per this many milliseconds, conflated in between. */
  pace(ms: number): void;
}

/** How much a state matters beside that of another link: while one link is live, the first attempt of the other changes nothing. */
function rank({ state, reason }: ConnectionState): number {
  if (reason.code === "idle") return -1;
  return reason.code === "connecting" ? 0 : STATES.indexOf(state);
}

export class HubClient implements Hub {
  readonly url: string;
  readonly connection: Store<ConnectionState>;
  readonly clock: HubClock;
  readonly operations: LazyOperations;
  /** For stores of many operations, which need no event between two frames. */
  readonly paced: PacedSource;
  readonly #addresses: Addresses;
  readonly #options: ConnectOptions;
  readonly #environment: Environment;
  readonly #credentials: Credentials;
  #loading: Promise<Requests> | undefined;
  readonly #state: ValueStore<ConnectionState>;
  readonly #plainLink: Link;
  readonly #pacedLink: Link;
  /** Whether someone shows the state of the connection. */
  #shown = false;
  /** Pace in milliseconds, until a store of operations chooses another. */
  #pace = 250;
  /** Watches at a pace. */
  #paced = 0;
  #streaming = false;
  /** Whether the application holds data that was current once. */
  #holds = false;
  /** Whether all links are changed together. */
  #changing = false;
  #release: (() => void) | undefined;

  constructor(url: string | URL, options: ConnectOptions, environment = makeEnvironment(options)) {
    const page = (globalThis as Partial<typeof globalThis>).document?.baseURI;
    this.#addresses = resolveHubUrl(url, page);
    this.url = this.#addresses.http;
    this.#options = options;
    this.#environment = environment;
    this.#credentials = new Credentials(options.token, environment);
    this.clock = new HubClock(environment.now, environment.wall);
    this.#state = new ValueStore<ConnectionState>(IDLE, (shown) => {
      this.#shown = shown;
      this.#keepConnection();
    });
    this.connection = this.#state;
    this.#plainLink = this.#makeLink();
    this.#pacedLink = this.#makeLink();
    this.paced = {
      watch: (paths, since, sink) => this.#watchPaced(simplify(paths), since, sink),
      pace: (ms) => {
        this.#pace = ms;
        this.#pacedLink.reopen();
      },
    };
    this.operations = new LazyOperations({
      ...this.paced,
      request: (path, init) => this.request(path, init),
      clock: this.clock,
      grants: () => this.connection.getSnapshot().grants,
    });
    const { transport = "auto" } = options;
    if (transport === "sse" || (transport === "auto" && environment.WebSocket === undefined)) this.#stream(true);
  }

  #makeLink(): Link {
    const environment = this.#environment;
    const options = this.#options;
    const port: LinkPort = {
      open: (handlers, paths, since) => {
        if (this.#streaming) return this.#openStream(handlers, paths, since);
        const { WebSocket } = environment;
        if (WebSocket === undefined) {
          throw new ConfigError("this platform has no WebSocket", "Pass the option `WebSocket`.");
        }
        const url = new URL(this.#addresses.websocket);
        if (link === this.#pacedLink) url.searchParams.set("pace_ms", `${this.#pace}`);
        return openWebSocket(WebSocket, url.href, handlers);
      },
      diagnose: () => this.#diagnose(link).catch(asTidingsError),
      requests: () => this.#requests(),
      changed: () => this.#update(link),
    };
    const { baseMs = 500, capMs = 15_000 } = options.reconnect ?? {};
    const link = new Link(
      environment,
      this.#credentials,
      {
        policy: { baseMs, capMs },
        now: environment.now,
        wall: environment.wall,
        random: environment.random,
        visible: environment.visible(),
        holds: () => this.#holds,
        clock: this.clock,
      },
      port,
    );
    return link;
  }

  get #links(): readonly Link[] {
    return [this.#plainLink, this.#pacedLink];
  }

  /** The link that matters most. */
  get #foremost(): Link {
    const [plain, paced] = [this.#plainLink, this.#pacedLink];
    return rank(paced.session.state) > rank(plain.session.state) ? paced : plain;
  }

  /** Show the state of the link that matters most; `link` has changed. */
  #update(link?: Link): void {
    if (this.#changing) return;
    if (link?.session.state.reason.code === "signed-out") this.#signOutAll();
    const shown = this.#foremost.session.state;
    this.#holds = shown.state === "live" || (this.#holds && rank(shown) >= 0);
    this.#state.set(shown);
    this.#keepConnection();
  }

  #signOutAll(): void {
    this.#forAll((session) => {
      if (session.state.state !== "closed") session.signedOut(new SignedOutError());
    });
  }

  /** Give an input to all links, and show what they have come to. */
  #forAll(input: (session: Session) => void): void {
    this.#changing = true;
    for (const link of this.#links) link.input(input);
    this.#changing = false;
    this.#update();
  }

  #watchPaced(paths: readonly string[], since: string, sink: Sink): () => void {
    const stop = this.#pacedLink.watch(paths, since, sink);
    this.#paced += 1;
    this.#keepConnection();
    return () => {
      stop();
      this.#paced -= 1;
      this.#keepConnection();
    };
  }

  /** Keep a connection while someone shows its state, unless the one with a pace exists anyway. */
  #keepConnection(): void {
    // The one that exists is left when the other has come to something, so that the state is never unknown between.
    const unknown = this.#release !== undefined && rank(this.#pacedLink.session.state) <= 0;
    const keeps = this.#shown && (this.#paced === 0 || this.#streaming || unknown);
    if (keeps === (this.#release !== undefined)) return;
    this.#release?.();
    // A store that reads its list again leaves the link with a pace, and comes back to it.
    this.#release = keeps ? this.#foremost.keep() : undefined;
  }

  /** Use one event stream over HTTP from now on, or WebSockets. */
  #stream(on: boolean): void {
    if (this.#streaming === on) return;
    this.#streaming = on;
    this.#changing = true;
    this.#release = this.#release?.() as undefined;
    this.#plainLink.input((session) => session.stream(on));
    this.#pacedLink.readOn(on ? this.#plainLink : this.#pacedLink);
    this.#changing = false;
    this.#update();
  }

  #openStream(handlers: TransportHandlers, paths: readonly string[], since: string): Transport {
    let stream: Transport | null | undefined;
    const url = this.#addresses.websocket;
    this.#requests().then((requests) => {
      if (stream !== null) stream = requests.openStream(paths, since, handlers, url, () => this.#stream(false));
    }, handlers.failed);
    return {
      send: () => {},
      close: () => {
        stream?.close();
        stream = null;
      },
    };
  }

  /**
   * Find out why no WebSocket opened. If the hub is well, and none has opened twice in a row, they do not get through,
   * and a stream may. Once can be the slowness of a busy machine.
   */
  async #diagnose({ session }: Link): Promise<TidingsError | undefined> {
    const error = await (await this.#requests()).diagnose(this.#streaming);
    const through = this.#links.some((link) => link.session.state.state === "live");
    if (error === undefined && session.blocked > 0 && !through && this.#options.transport !== "websocket") {
      this.#stream(true);
    }
    return error;
  }

  #requests(): Promise<Requests> {
    this.#loading ??= import("./requests.ts").then(
      ({ Requests }) => new Requests(this.url, this.#environment, this.#credentials, this.#options),
      (error: unknown) => {
        this.#loading = undefined;
        throw new HubUnreachableError("a part of the client did not load", "Reload the page.", error);
      },
    );
    return this.#loading;
  }

  watch(path: string | readonly string[], options?: WatchOptions): AsyncIterableIterator<WatchItem>;
  watch(path: string | readonly string[], callback: (item: WatchItem) => void, options?: WatchOptions): () => void;
  watch(
    path: string | readonly string[],
    second?: WatchOptions | ((item: WatchItem) => void),
    third?: WatchOptions,
  ): AsyncIterableIterator<WatchItem> | (() => void) {
    const paths = simplify(typeof path === "string" ? [path] : path);
    if (typeof second === "function") return this.#watchWith(paths, second, third ?? {});
    const { bufferSize = this.#options.bufferSize ?? DEFAULT_BUFFER, signal } = second ?? {};
    let stop = (): void => {};
    const iterator = new WatchIterator(bufferSize, () => stop());
    stop = this.#watchUntil(paths, second ?? {}, iterator, () => iterator.stop(signal?.reason));
    return iterator;
  }

  #watchWith(paths: readonly string[], callback: (item: WatchItem) => void, options: WatchOptions): () => void {
    let ended = false;
    let stop = (): void => {};
    const finish = (): void => {
      ended = true;
      stop();
    };
    const take = (items: readonly RawItem[]): void => {
      for (const item of items as readonly WatchItem[]) if (!ended) callSafely(() => callback(item));
    };
    stop = this.#watchUntil(paths, options, { persistent: true, take, end: () => finish() }, () => finish());
    return finish;
  }

  /** Watch until the returned function is called; `abort` is called when the signal says so. */
  #watchUntil(
    paths: readonly string[],
    { signal, since = "snapshot" }: WatchOptions,
    sink: Sink,
    abort: () => void,
  ): () => void {
    if (signal?.aborted) {
      abort();
      return () => {};
    }
    const stop = this.#plainLink.watch(paths, since, sink);
    signal?.addEventListener("abort", abort);
    return () => {
      signal?.removeEventListener("abort", abort);
      stop();
    };
  }

  async publish(type: string, data: unknown = null, options: PublishOptions = {}): Promise<Accepted> {
    return (await this.#requests()).publisher.publish(type, data, options);
  }

  async cancel(operationId: string, options: CancelOptions = {}): Promise<CancelOutcome> {
    return (await this.#requests()).cancel(operationId, options);
  }

  async request<T = unknown>(path: string, options: RequestOptions = {}): Promise<T> {
    return (await this.#requests()).http.request<T>(path, options);
  }

  signIn(token: string | TokenSupplier): void {
    this.#credentials.replace(token);
    this.#forAll((session) => session.signedIn());
    this.operations.restart();
  }

  signOut(): void {
    this.#credentials.replace();
    this.#signOutAll();
    this.operations.restart();
  }

  heardAt(): number | undefined {
    return this.#foremost.session.status.heardAt;
  }

  retryNow(): void {
    this.#forAll((session) => session.retryNow());
  }

  close(): void {
    this.operations.close();
    this.#forAll((session) => session.close(new ClientClosedError()));
    for (const link of this.#links) link.dispose();
  }
}

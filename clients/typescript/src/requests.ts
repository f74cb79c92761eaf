/** All that a client does over HTTP: its code is loaded with the first request. */
import type { Credentials } from "./credentials.ts";
import type { Environment } from "./environment.ts";
import { HubError, HubUnreachableError, NotAHubError, NotSupportedError, TidingsError } from "./errors.ts";
import { HttpClient, withField } from "./http.ts";
import type { LoggedEvent } from "./items.ts";
import type { Transport, TransportHandlers } from "./link.ts";
import { PROTOCOL } from "./messages.ts";
import { OPERATION_ROUTE } from "./operations/operation.ts";
import type { CancelOptions, CancelOutcome, ConnectOptions } from "./options.ts";
import { BUILT_IN_CONTRACT, type KeyFields } from "./paths.ts";
import { Publisher } from "./publisher.ts";
import { openStream, planStream } from "./stream.ts";
import type { Backfill, BackfillPage } from "./subscription.ts";
import { WebSocketSearch } from "./websocket-search.ts";

/** Time, in milliseconds, in which a failed handshake is explained. */
const DIAGNOSIS_MS = 10_000;
/** Delay, in milliseconds, before the beginning of a watch is requested again; as much again at random. */
const RETRY_MS = 500;
/** Events in an answer after one broke off: a bad network may carry those. */
const RETRY_PAGE = 50;

const HELD_BACK = "a proxy holds back the stream of events, and lets no WebSocket through";
const LET_PASS = "Let the proxy pass WebSockets, or switch off its buffering of `/v1/stream` (docs/deploying.md).";

/** What a hub says about itself at its root. */
interface About {
  readonly name?: string;
  readonly contract?: { readonly hash: string };
  readonly websocket?: { readonly subprotocol: string };
}

interface Contract {
  readonly events: readonly { readonly type: string; readonly key: string | null }[];
}

interface Snapshot {
  readonly events: readonly LoggedEvent[];
  readonly position: string;
}

interface History extends Snapshot {
  readonly next: string;
  readonly gap?: { readonly after: string; readonly until: string; readonly reason: string };
}

export class Requests {
  readonly http: HttpClient;
  readonly publisher: Publisher;
  readonly plan = planStream;
  readonly #environment: Environment;
  readonly #retryMs: number;
  readonly #search: WebSocketSearch;
  /** Whether the application takes WebSockets. */
  readonly #seeks: boolean;

  /** @param base - URL of the HTTP interface. */
  constructor(base: string, environment: Environment, credentials: Credentials, options: ConnectOptions) {
    this.#environment = environment;
    this.#retryMs = options.reconnect?.baseMs ?? RETRY_MS;
    this.http = new HttpClient(base, environment, credentials, options.credentials ?? "same-origin");
    this.publisher = new Publisher(this.http, environment.random);
    this.#seeks = options.transport !== "sse";
    this.#search = new WebSocketSearch(environment);
  }

  async cancel(operationId: string, { reason, signal, timeoutS }: CancelOptions): Promise<CancelOutcome> {
    const outcome = await this.http.request<CancelOutcome>(`${OPERATION_ROUTE}/cancel`, {
      query: { operation_id: operationId },
      body: { reason, timeout_s: timeoutS },
      signal,
    });
    return withField(outcome, "outcome");
  }

  /**
   * Open a stream, and look for a WebSocket that gets through while it is open.
   *
   * @param url - Of the WebSocket. @param found - Called when one gets through.
   */
  openStream(
    paths: readonly string[],
    since: string,
    handlers: TransportHandlers,
    url: string,
    found: () => void,
  ): Transport {
    const stream = openStream(this.http, paths, since, handlers);
    if (this.#seeks) this.#search.start(url, found);
    return {
      send: stream.send,
      close: () => {
        this.#search.stop();
        stream.close();
      },
    };
  }

  /** Read the beginning of a watch, or a part of it; again while the network or the hub fails and it is wanted. */
  async backfill(request: Backfill): Promise<BackfillPage> {
    for (;;) {
      try {
        return await this.#backfillOnce(request);
      } catch (error) {
        const { subscription } = request;
        subscription.size = RETRY_PAGE;
        if (!(error instanceof TidingsError && error.recoverable)) throw error;
        const asked = error instanceof HubError ? error.retryAfterMs : 0;
        const delay = asked + this.#retryMs * (1 + this.#environment.random());
        await new Promise<void>((resolve) => void this.#environment.later(delay, resolve));
        if (subscription.backfill !== request) throw error;
      }
    }
  }

  async #backfillOnce({ since, subscription }: Backfill): Promise<BackfillPage> {
    const channel = subscription.paths;
    if (since === "snapshot") {
      const snapshot = await this.http.request<Snapshot>("v1/snapshot", { query: { channel } });
      const { events, position } = withField(snapshot, "events");
      return { events, next: position, done: true, outcome: "snapshot" };
    }
    const query = { channel, since, limit: subscription.size };
    const history = await this.http.request<History>("v1/events", { query });
    const { events, gap, next, position } = withField(history, "events");
    const outcome = gap === undefined ? "complete" : "gap";
    return { events, next, done: next === position, outcome, ...(gap === undefined ? {} : { gap }) };
  }

  /** Fetch the key fields of the hub's own types; its contract is large, and most hubs have none. */
  async fetchKeys(): Promise<KeyFields> {
    const { contract } = await this.#about();
    if (contract?.hash === BUILT_IN_CONTRACT) return new Map();
    const { events } = withField(await this.http.request<Contract>("v1/contract.json"), "events");
    return new Map(events.map(({ key, type }) => [type, key]));
  }

  async #about(): Promise<About> {
    try {
      return (await this.http.request<About | null>("", { signal: AbortSignal.timeout(DIAGNOSIS_MS) })) ?? {};
    } catch (error) {
      if (!(error instanceof HubError && error.code === "not_found")) throw error;
      throw new NotAHubError("the hub at the URL is not below its path", "Correct the path of the URL.");
    }
  }

  /**
   * Find out why no WebSocket opened: a browser does not tell a page. One request asks the server who it is.
   *
   * @param streams - Whether it was a stream that did not begin: only what holds it back keeps it from a hub that is well.
   * @returns what is wrong; undefined if the hub is well, so that only WebSockets do not get through.
   * @throws {@link TidingsError} when the request fails: a missing credential or right, a server that is not ready,
   *   another path, a web page, or no answer that a page may read.
   */
  async diagnose(streams = false): Promise<TidingsError | undefined> {
    const { name, websocket } = await this.#about();
    if (name !== "tidings") return new NotAHubError("the server at the URL is not a tidings hub");
    const spoken = websocket?.subprotocol ?? "nothing";
    if (spoken === PROTOCOL) return streams ? new HubUnreachableError(HELD_BACK, LET_PASS) : undefined;
    return new NotSupportedError(`the hub speaks ${spoken}, and this client ${PROTOCOL}`);
  }
}

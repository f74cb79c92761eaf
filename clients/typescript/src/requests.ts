/** All that a client does over HTTP: its code is loaded with the first request. */
import type { Credentials } from "./credentials.ts";
import type { Environment } from "./environment.ts";
import { NotAHubError, NotSupportedError, type TidingsError } from "./errors.ts";
import { HttpClient } from "./http.ts";
import type { LoggedEvent } from "./items.ts";
import type { Transport, TransportHandlers } from "./link.ts";
import { PROTOCOL } from "./messages.ts";
import type { CancelOptions, CancelOutcome } from "./options.ts";
import { BUILT_IN_CONTRACT, type KeyFields } from "./paths.ts";
import { Publisher } from "./publisher.ts";
import { openStream } from "./stream.ts";
import type { Backfill, BackfillPage } from "./subscription.ts";

/** Time, in milliseconds, in which a failed handshake is explained. */
const DIAGNOSIS_MS = 10_000;

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

  /** @param base - URL of the HTTP interface. @param mode - Whether cookies are sent. */
  constructor(base: string, environment: Environment, credentials: Credentials, mode: RequestCredentials) {
    this.http = new HttpClient(base, environment, credentials, mode);
    this.publisher = new Publisher(this.http, environment.random);
  }

  cancel(operationId: string, { reason, signal, timeoutS }: CancelOptions): Promise<CancelOutcome> {
    return this.http.request(`v1/operations/${encodeURIComponent(operationId)}/cancel`, {
      body: { reason, timeout_s: timeoutS },
      ...(signal === undefined ? {} : { signal }),
    });
  }

  openStream(paths: readonly string[], since: string, handlers: TransportHandlers): Transport {
    return openStream(this.http, paths, since, handlers);
  }

  /** Read the beginning of a watch, or a part of it. */
  async backfill({ since, subscription }: Backfill): Promise<BackfillPage> {
    const channel = subscription.paths;
    if (since === "snapshot") {
      const { events, position } = await this.http.request<Snapshot>("v1/snapshot", { query: { channel } });
      return { events, next: position, done: true, outcome: "snapshot" };
    }
    const query = { channel, since, limit: subscription.size };
    const { events, gap, next, position } = await this.http.request<History>("v1/events", { query });
    const outcome = gap === undefined ? "complete" : "gap";
    return { events, next, done: next === position, outcome, ...(gap === undefined ? {} : { gap }) };
  }

  /** Fetch the key fields of the hub's own types; its contract is large, and most hubs have none. */
  async fetchKeys(): Promise<KeyFields> {
    const { contract } = await this.http.request<About>("");
    if (contract?.hash === BUILT_IN_CONTRACT) return new Map();
    const { events } = await this.http.request<Contract>("v1/contract.json");
    return new Map(events.map(({ key, type }) => [type, key]));
  }

  /**
   * Find out why no WebSocket opened: a browser does not tell a page. One request asks the server who it is.
   *
   * @returns what is wrong; undefined if the hub is well, so that only WebSockets do not get through.
   * @throws {@link TidingsError} when the request fails: a missing credential or right, a server that is not ready,
   *   another path, a web page, or no answer that a page may read.
   */
  async diagnose(): Promise<TidingsError | undefined> {
    const { name, websocket } = await this.http.request<About>("", { signal: AbortSignal.timeout(DIAGNOSIS_MS) });
    if (name !== "tidings") return new NotAHubError("the server at the URL is not a tidings hub");
    const spoken = websocket?.subprotocol ?? "nothing";
    if (spoken === PROTOCOL) return undefined;
    return new NotSupportedError(`the hub speaks ${spoken}, and this client ${PROTOCOL}`);
  }
}

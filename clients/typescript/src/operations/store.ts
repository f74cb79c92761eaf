/**
 * The store of a hub's operations: reads the list, follows the events from there (docs/protocol/http.md, "GET
 * /v1/operations"), and calls its listeners at most once per frame.
 */

import { CredentialError, ForbiddenError, HubError, SignedOutError, TidingsError } from "../errors.ts";
import { withField } from "../http.ts";
import type { LoggedEvent, Sink } from "../items.ts";
import type { RequestOptions } from "../options.ts";
import { callSafely, type Store } from "../store.ts";
import { isLive, OPERATION_ROUTE, type Operation } from "./operation.ts";
import { followVisibility, makeSchedule, type Schedule } from "./schedule.ts";
import { NO_OPERATIONS, type OperationsSnapshot, type SingleOperationStore } from "./snapshot.ts";
import { OperationTable } from "./table.ts";

/** Operations in one answer of the list; the hub's limit. */
const PAGE = 1_000;
/** Maximum parents whose older children are read, because their progress is that of the children. */
const MAX_PARENTS = 50;
/** How long the store goes on reading after its last listener has left, in milliseconds: views are often replaced. */
const LINGER_MS = 1_000;
/** First and longest delay before the list is read again after a failure, in milliseconds. */
const RETRY_MS = [1_000, 30_000] as const;
/** At most one delivery of events per this many milliseconds, conflated in between. */
const SHOWN_PACE_MS = 250;
/** The same for a hidden page, of the operations that someone waits for. */
const HIDDEN_PACE_MS = 5_000;
/** How often a hidden page asks which other operations began, ended or need attention, in milliseconds. */
const ASK_MS = 60_000;
/** How much of the time before is asked for again, in milliseconds: an answer and the events take a while. */
const OVERLAP_MS = 10_000;
/** How often the store looks whether the hub's clock was set, in milliseconds. */
const CLOCK_MS = 10_000;
/** Change of the difference to this device's clock beyond which it was: messages are rarely later. */
const MIN_JUMP_MS = 5_000;
/** Maximum operations that a hidden page follows one by one. */
const MAX_FOLLOWED = 100;
/** Ids that are a path as they are (PROTOCOL.md, "Channels, keys and paths"). */
const PLAIN_ID = /^[^*%\s]+$/;

/** What a store of operations needs of its client. */
export interface OperationSource {
  /** Follows paths at a pace until the returned function is called. */
  watch(paths: readonly string[], since: string, sink: Sink): () => void;
  /** Follows them at another pace, in milliseconds. */
  readonly pace: (ms: number) => void;
  request<T>(path: string, options?: RequestOptions): Promise<T>;
  readonly clock: { now(): number };
  /** The paths of operations that may be read, as far as the client knows. */
  paths(): readonly string[];
}

interface OperationPage {
  readonly operations: readonly Operation[];
  /** Absent from hubs of earlier versions. */
  readonly position?: string;
  readonly next?: string;
}

/** What a snapshot says beside the operations. */
type Reading = Pick<OperationsSnapshot, "status" | "complete" | "error">;

interface Listener {
  readonly call: () => void;
}

/** The operations of a hub. The store reads and follows them while anything listens to it. */
export class OperationStore implements Store<OperationsSnapshot> {
  readonly #source: OperationSource;
  readonly #schedule: Schedule;
  readonly #listeners = new Set<Listener>();
  /** Listeners to single operations, by id. */
  readonly #single = new Map<string, Set<Listener>>();
  /** Ids that the hub does not know. */
  readonly #missing = new Set<string>();
  /** Ids that the hub does not know, which no listener has learnt yet. */
  readonly #unknown = new Set<string>();
  /** Ids for which the hub is being asked. */
  readonly #asked = new Set<string>();
  readonly #table = new OperationTable();
  #snapshot = NO_OPERATIONS;
  /** The next snapshot, without what the table holds. */
  #next: Reading = NO_OPERATIONS;
  /** Cursor of the next older page; empty for the first page, undefined where there is none. */
  #cursor: string | undefined;
  #stopWatch: (() => void) | undefined;
  #reading: AbortController | undefined;
  #askTimer: ReturnType<typeof setTimeout> | undefined;
  #clockTimer: ReturnType<typeof setInterval> | undefined;
  /** Between the hub's clock and this device's when the list was read; undefined until the hub was heard after it. */
  #difference: number | undefined;
  /** Whether the page was hidden for some time. */
  #hidden = false;
  /** Ids that a hidden page follows by their events. */
  #followed: ReadonlySet<string> = new Set();
  #pace = SHOWN_PACE_MS;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #lingerTimer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #closed = false;
  #unfollow: (() => void) | undefined;

  /** @internal */
  constructor(source: OperationSource, schedule: (callback: () => void) => Schedule = makeSchedule) {
    this.#source = source;
    this.#schedule = schedule(() => this.#publish());
  }

  readonly subscribe = (listener: () => void): (() => void) => this.#listen(this.#listeners, listener);

  readonly getSnapshot = (): OperationsSnapshot => this.#snapshot;

  readonly getServerSnapshot = (): OperationsSnapshot => NO_OPERATIONS;

  /** Returns the store of one operation, whose listeners are called for no other. */
  operation(id: string): SingleOperationStore {
    return {
      subscribe: (listener) => {
        const listeners = this.#single.get(id) ?? new Set();
        this.#single.set(id, listeners);
        const stop = this.#listen(listeners, listener);
        if (this.#next.status === "ready") void this.#lookUp(id);
        if (this.#askTimer !== undefined) this.#followFew();
        return () => {
          stop();
          if (listeners.size === 0 && this.#single.get(id) === listeners) this.#single.delete(id);
        };
      },
      getSnapshot: () => this.#table.get(id) ?? (this.#missing.has(id) ? null : undefined),
      getServerSnapshot: () => undefined,
    };
  }

  /** Reads the next thousand older operations; does nothing if `complete`. */
  async loadOlder(signal?: AbortSignal): Promise<void> {
    let added = 0;
    while (this.#cursor !== undefined && added === 0) {
      const after: string = this.#cursor;
      const page: OperationPage = await this.#page(after === "" ? {} : { after }, signal);
      if (this.#cursor !== after) return; // read twice, or all over again
      added = this.#table.add(page.operations);
      this.#cursor = page.next;
      this.#change({ complete: page.next === undefined });
    }
  }

  /** Forgets everything, and reads it again: the client is another subject's now. @internal */
  restart(): void {
    this.#stop();
    this.#table.reset([]);
    this.#missing.clear();
    this.#cursor = undefined;
    this.#change({ status: "loading", complete: false, error: undefined });
    if (this.#used) this.#read();
  }

  /** Ends for good: the client was closed. @internal */
  close(): void {
    this.#closed = true;
    this.#unfollow?.();
    this.#stop();
  }

  /** Whether the operations are read or followed. */
  get #active(): boolean {
    return this.#stopWatch !== undefined || this.#reading !== undefined || this.#askTimer !== undefined;
  }

  get #used(): boolean {
    return this.#listeners.size > 0 || this.#single.size > 0;
  }

  #listen(listeners: Set<Listener>, listener: () => void): () => void {
    const entry: Listener = { call: listener }; // one function may be subscribed twice
    listeners.add(entry);
    if (!this.#active) this.#read();
    return () => {
      if (!listeners.delete(entry)) return;
      clearTimeout(this.#lingerTimer);
      this.#lingerTimer = setTimeout(() => this.#used || this.#rest(), LINGER_MS);
      (this.#lingerTimer as { unref?: () => void }).unref?.(); // a program in Node may end before
    };
  }

  /** Reads the list, then follows the events from there. What is shown stays until the new list is there. */
  #read(): void {
    this.#stop();
    if (this.#closed) return;
    this.#unfollow ??= followVisibility((isHidden) => this.#hide(isHidden));
    this.#difference = undefined;
    const reading = new AbortController();
    this.#reading = reading;
    this.#readList(reading.signal).then(
      (position) => {
        if (this.#reading !== reading) return;
        this.#reading = undefined;
        this.#failures = 0;
        if (this.#hidden) this.#followFew();
        else this.#follow(this.#source.paths(), position ?? "snapshot");
      },
      (error: unknown) => {
        if (this.#reading !== reading) return;
        this.#reading = undefined;
        this.#fail(error instanceof TidingsError ? error : new TidingsError("client_error", String(error)));
      },
    );
  }

  /** Reads the newest operations, all live ones and the children on which their progress depends; returns the position from which to follow them. */
  async #readList(signal: AbortSignal): Promise<string | undefined> {
    const first = await this.#page({}, signal);
    const rows = new Map(first.operations.map((row) => [row.operation_id, row]));
    if (first.next !== undefined) {
      await this.#readPages({ state: ["queued", "running"] }, rows, signal);
      const parents = [...rows.values()].filter((row) => isLive(row) && row.progress_of === "children");
      for (const { operation_id } of parents.slice(0, MAX_PARENTS)) {
        await this.#readPages({ parent: operation_id }, rows, signal);
      }
    }
    if (signal.aborted) return undefined;
    this.#table.reset([...rows.values()]);
    this.#cursor = first.next;
    this.#change({ status: "ready", complete: first.next === undefined, error: undefined });
    for (const id of this.#single.keys()) void this.#lookUp(id);
    return first.position;
  }

  /** Adds all rows of a query to those that are known. */
  async #readPages(query: RequestOptions["query"], rows: Map<string, Operation>, signal: AbortSignal): Promise<void> {
    let after: string | undefined;
    do {
      const page: OperationPage = await this.#page({ ...query, after }, signal);
      for (const row of page.operations) if (!rows.has(row.operation_id)) rows.set(row.operation_id, row);
      after = page.next;
    } while (after !== undefined);
  }

  async #page(query: RequestOptions["query"], signal?: AbortSignal): Promise<OperationPage> {
    const options: RequestOptions = { query: { limit: PAGE, ...query }, signal };
    return withField(await this.#source.request<OperationPage>("v1/operations", options), "operations");
  }

  /**
   * Reads the list again when the hub can be reached, and some time has passed.
   *
   * @param follow - Whether to go on with the events alone until then; not if they were refused, too.
   */
  #fail(error: TidingsError, follow = true): void {
    this.#change({ status: this.#next.status === "ready" ? "ready" : "failed", error });
    const [first, longest] = RETRY_MS;
    const delay = Math.min(first * 2 ** this.#failures, longest);
    this.#failures += 1;
    const signedOut = error instanceof CredentialError || error instanceof SignedOutError;
    clearTimeout(this.#retryTimer);
    if (!signedOut) this.#retryTimer = setTimeout(() => this.#read(), delay);
    if (follow) this.#follow(this.#source.paths(), "snapshot", signedOut);
    else this.#stopWatch = undefined;
  }

  /** Follows less while nobody looks, and reads everything again when somebody does. */
  #hide(isHidden: boolean): void {
    this.#hidden = isHidden;
    if (!this.#active) return;
    if (!isHidden) this.#read();
    else if (this.#next.status === "ready" && this.#reading === undefined) this.#followFew();
  }

  /**
   * In a hidden page: follows the live operations that someone listens to one by one, and asks now and then for what
   * the others came to. Their progress is read when the page is shown.
   */
  #followFew(): void {
    this.#stop();
    const ids = [...this.#single.keys()].filter((id) => PLAIN_ID.test(id) && this.#table.isLive(id));
    this.#followed = new Set(ids.slice(0, MAX_FOLLOWED));
    const paths = [...this.#followed].map((id) => `operations/${id}`);
    if (paths.length > 0) this.#follow(paths, "snapshot");
    this.#askLater(this.#source.clock.now());
  }

  /** @param since - Time up to which everything is known, in milliseconds since 1970. */
  #askLater(since: number): void {
    this.#askTimer = setTimeout(() => void this.#ask(since), ASK_MS);
  }

  async #ask(since: number): Promise<void> {
    const asking = new AbortController();
    this.#reading = asking;
    const now = this.#source.clock.now();
    const news = new Map<string, Operation>();
    const troubled = new Map<string, Operation>();
    let known = now;
    try {
      const after = new Date(since - OVERLAP_MS).toISOString();
      await this.#readPages({ since: after }, news, asking.signal);
      await this.#readPages({ state: ["stalled", "away"] }, troubled, asking.signal);
    } catch {
      known = since; // the connection shows what is wrong
    }
    if (this.#reading !== asking) return;
    this.#reading = undefined;
    if (known === now) this.#table.update(new Map([...news, ...troubled]), new Set(troubled.keys()), this.#followed);
    this.#schedule.request();
    this.#askLater(known);
  }

  /**
   * Follows the events of some paths.
   *
   * @param since - Where to start: at the position of the list, or with a snapshot of the events where there is none.
   * @param thenRead - Whether to read the list as soon as the hub accepts the client.
   */
  #follow(paths: readonly string[], since: string, thenRead = false): void {
    const pace = this.#hidden ? HIDDEN_PACE_MS : SHOWN_PACE_MS;
    if (pace !== this.#pace) this.#source.pace(pace);
    this.#pace = pace;
    clearInterval(this.#clockTimer);
    this.#clockTimer = setInterval(() => this.#checkClock(), CLOCK_MS);
    (this.#clockTimer as { unref?: () => void }).unref?.();
    let phase: "joining" | "resuming" | "live" = "joining";
    this.#stopWatch = this.#source.watch(paths, since, {
      persistent: true,
      take: (items) => {
        for (const item of items) {
          if ("position" in item) this.#apply(item, phase);
          else if (item.type === "channel:subscribed" && thenRead) return this.#read();
          else if (item.type === "channel:subscribed" && phase !== "joining") {
            // Events are missing: the list has what they said.
            if (item.data.outcome === "snapshot" || item.data.outcome === "gap") return this.#read();
            phase = "resuming";
          } else if (item.type === "channel:gap") return this.#read();
          else if (item.type === "channel:live") {
            phase = "live";
            this.#change({ status: "ready" });
            this.#checkClock();
          }
        }
      },
      end: (error) => {
        if (error === undefined || this.#closed) return;
        const known = this.#source.paths();
        if (this.#askTimer !== undefined) {
          this.#stopWatch = undefined;
          this.#followed = new Set(); // they are asked for as well
        } else if (error instanceof ForbiddenError && known.join() !== paths.join())
          this.#follow(known, since, thenRead);
        else this.#fail(error, !(error instanceof ForbiddenError));
      },
    });
  }

  /** Reads the list again after the hub's clock was set: the hub moves the times of all operations by as much. */
  #checkClock(): void {
    const difference = this.#source.clock.now() - performance.now();
    this.#difference ??= difference;
    if (Math.abs(difference - this.#difference) > MIN_JUMP_MS && !this.#hidden) this.#read();
  }

  #apply(event: LoggedEvent, phase: "joining" | "resuming" | "live"): void {
    const id = (event.data as { operation_id?: unknown } | null)?.operation_id;
    if (typeof id !== "string") return;
    const now = this.#source.clock.now();
    // What was stored before has the time at which its producer wrote it.
    const received = phase === "live" ? now : Math.min(Date.parse(event.timestamp), now);
    this.#table.apply(id, event, received, phase === "joining");
    if (this.#table.takeEvicted()) {
      this.#cursor = ""; // what was removed is newer than what the cursor was for
      this.#change({ complete: false });
    }
    if (this.#table.dirty) this.#schedule.request();
  }

  /** Asks the hub for an operation that someone listens to and that is older than the list. */
  async #lookUp(id: string): Promise<void> {
    if (this.#table.has(id) || this.#missing.has(id) || this.#asked.has(id)) return;
    this.#asked.add(id);
    try {
      this.#table.add([await this.#readOne(id)]);
    } catch (error) {
      if (error instanceof HubError && error.code === "operation_unknown") this.#unknown.add(id);
    } finally {
      this.#asked.delete(id);
    }
    this.#schedule.request();
  }

  async #readOne(id: string): Promise<Operation> {
    const query = { operation_id: id };
    const detail = await this.#source.request<Operation & Details>(OPERATION_ROUTE, { query });
    const { steps, timeline, log, children, result, usual, ...row } = detail;
    return row;
  }

  /** Ends reading, because nothing listens. */
  #rest(): void {
    this.#stop();
    this.#unfollow = this.#unfollow?.() as undefined; // the page forgets a client that no one uses
    this.#hidden = false;
    this.#change({ status: "loading" });
  }

  #stop(): void {
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#askTimer);
    clearInterval(this.#clockTimer);
    this.#reading?.abort();
    this.#stopWatch?.();
    this.#reading = this.#stopWatch = this.#askTimer = undefined;
  }

  #change(changes: Partial<Reading>): void {
    this.#next = { ...this.#next, ...changes };
    this.#schedule.request();
  }

  #publish(): void {
    const { ids, order } = this.#table.publish();
    const { status, complete, error } = this.#next;
    const { list: operations, order: sorted } = this.#table;
    const { status: shown, complete: whole, error: fault } = this.#snapshot;
    if (ids.size > 0 || order || status !== shown || complete !== whole || error !== fault) {
      this.#snapshot = { status, operations, ids: sorted, complete, ...(error === undefined ? {} : { error }) };
      for (const { call } of [...this.#listeners]) callSafely(call);
    }
    const unknown = new Set(this.#unknown);
    this.#unknown.clear();
    for (const id of unknown) this.#missing.add(id);
    for (const id of ids) this.#missing.delete(id);
    for (const [id, listeners] of [...this.#single]) {
      if (ids.has(id) || unknown.has(id)) for (const { call } of [...listeners]) callSafely(call);
      if (ids.has(id) && !this.#table.has(id)) void this.#lookUp(id); // the hub, or this store, has removed it
    }
  }
}

/** Returns the paths of operations that grants allow to read; all of them where the grants are not known. */
export function readablePaths(grants: readonly string[] | undefined): readonly string[] {
  const read = (grants ?? []).filter((grant) => grant.startsWith("read ")).map((grant) => grant.slice("read ".length));
  const some = read.filter((path) => path.startsWith("operations/"));
  return some.length === 0 || read.includes("*") || read.includes("operations") ? ["operations"] : some;
}

/** What an operation has beside the fields of a list. */
type Details = Record<"steps" | "timeline" | "log" | "children" | "result" | "usual", unknown>;

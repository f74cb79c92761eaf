/** A source of operations whose answers and events come when a test says so. */
import { vi } from "vitest";
import type { LoggedEvent, RawItem, Sink, WatchItem } from "../../src/items.ts";
import type { Operation } from "../../src/operations/operation.ts";
import { type OperationSource, readablePaths } from "../../src/operations/store.ts";
import type { RequestOptions } from "../../src/options.ts";

/** The time of the source, in milliseconds since 1970. */
export const NOW = Date.parse("2025-07-30T12:00:00Z");

interface Request {
  readonly path: string;
  readonly query: RequestOptions["query"];
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: unknown) => void;
}

export class FakeSource implements OperationSource {
  readonly requests: Request[] = [];
  readonly watches: {
    readonly paths: readonly string[];
    readonly since: string;
    readonly sink: Sink;
    open: boolean;
  }[] = [];
  /** By how much the hub's clock was set, in milliseconds. */
  jump = 0;
  /** Whether its clock goes on. */
  ticks = false;
  readonly #began = performance.now();
  readonly clock = { now: () => NOW + this.jump + (this.ticks ? performance.now() - this.#began : 0) };
  readonly pace = vi.fn<(ms: number) => void>();
  grants: readonly string[] | undefined;
  #position = 0;

  paths = (): readonly string[] => readablePaths(this.grants);

  request<T>(path: string, options: RequestOptions = {}): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const answer = resolve as (value: unknown) => void;
      this.requests.push({ path, query: options.query, resolve: answer, reject });
      options.signal?.addEventListener("abort", () => reject(options.signal?.reason));
    });
  }

  watch(paths: readonly string[], since: string, sink: Sink): () => void {
    const watch = { paths, since, sink, open: true };
    this.watches.push(watch);
    return () => {
      watch.open = false;
    };
  }

  /** Answers the latest request. */
  async answer(value: unknown): Promise<void> {
    this.requests.at(-1)?.resolve(value);
    await settled();
  }

  async refuse(error: unknown): Promise<void> {
    this.requests.at(-1)?.reject(error);
    await settled();
  }

  /** Delivers items to the latest watch, if it is open. */
  deliver(...items: readonly RawItem[]): void {
    const watch = this.watches.at(-1);
    if (watch?.open) watch.sink.take(items);
  }

  event(type: string, data: Record<string, unknown>, more: Partial<LoggedEvent> = {}): LoggedEvent {
    this.#position += 1;
    const timestamp = new Date(NOW).toISOString();
    return { type, timestamp, trace_id: "t", data, channel: "operations", position: `e:${this.#position}`, ...more };
  }
}

/** Let what was answered be handled. */
export const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
};

export const subscribed = (outcome: "complete" | "snapshot" | "gap" | "live"): WatchItem => ({
  type: "channel:subscribed",
  data: { channels: ["operations"], position: "e:0", outcome },
});
export const live: WatchItem = {
  type: "channel:live",
  data: { channels: ["operations"], position: "e:0", outcome: "complete" },
};

/** An operation as the hub lists it. */
export function row(id: string, more: Partial<Operation> = {}): Operation {
  const started_at = "2025-07-30T11:00:00Z";
  return {
    operation_id: id,
    name: "n",
    state: "running",
    attempt: 1,
    trace_id: "t",
    started_at,
    heard_at: started_at,
    ...more,
  };
}

/** A page whose frames come when the test says so. */
export class FakePage extends EventTarget {
  visibilityState: "visible" | "hidden" = "visible";
  readonly frames = new Map<number, () => void>();
  #count = 0;

  install(): void {
    vi.stubGlobal("document", this);
    vi.stubGlobal("requestAnimationFrame", (callback: () => void) => {
      this.#count += 1;
      this.frames.set(this.#count, callback);
      return this.#count;
    });
    vi.stubGlobal("cancelAnimationFrame", (id: number) => this.frames.delete(id));
  }

  frame(): void {
    const due = [...this.frames.values()];
    this.frames.clear();
    for (const callback of due) callback();
  }

  show(state: "visible" | "hidden"): void {
    this.visibilityState = state;
    this.dispatchEvent(new Event("visibilitychange"));
  }
}

/** The store of operations as a client has it: its code is loaded with the first listener. */

import { callSafely } from "../store.ts";
import { NO_OPERATIONS, type Operations, type OperationsSnapshot, type SingleOperationStore } from "./snapshot.ts";
import type { OperationSource, OperationStore } from "./store.ts";

/** Delay, in milliseconds, before the code is loaded again: the network may have failed just then. */
const RETRY_MS = 1_000;

/** What a client offers to the store. */
export interface LazySource extends Omit<OperationSource, "paths"> {
  /** What the subject may do, as grants are written; undefined while it is not known. */
  grants(): readonly string[] | undefined;
}

export class LazyOperations implements Operations {
  readonly #source: LazySource;
  #store: OperationStore | undefined;
  #loading: Promise<OperationStore> | undefined;
  #closed = false;

  constructor(source: LazySource) {
    this.#source = source;
  }

  readonly subscribe = (listener: () => void): (() => void) =>
    this.#listen((store) => store.subscribe(listener), listener);

  readonly getSnapshot = (): OperationsSnapshot => this.#store?.getSnapshot() ?? NO_OPERATIONS;

  readonly getServerSnapshot = (): OperationsSnapshot => NO_OPERATIONS;

  operation(id: string): SingleOperationStore {
    return {
      subscribe: (listener) => this.#listen((store) => store.operation(id).subscribe(listener), listener),
      getSnapshot: () => this.#store?.operation(id).getSnapshot(),
      getServerSnapshot: () => undefined,
    };
  }

  async loadOlder(signal?: AbortSignal): Promise<void> {
    const store = await this.#load();
    return store.loadOlder(signal);
  }

  /** Forgets everything, and reads it again: the client is another subject's now. */
  restart(): void {
    this.#store?.restart();
  }

  /** Ends for good: the client was closed. */
  close(): void {
    this.#closed = true;
    this.#store?.close();
  }

  #listen(begin: (store: OperationStore) => () => void, listener: () => void): () => void {
    if (this.#store !== undefined) return begin(this.#store);
    let stop: (() => void) | undefined;
    let ended = false;
    const load = (): void => {
      if (ended || this.#closed) return;
      this.#load().then(
        (store) => {
          if (ended) return;
          stop = begin(store);
          callSafely(listener); // a listener that joined first may have changed the store
        },
        () => {
          this.#loading = undefined;
          setTimeout(load, RETRY_MS);
        },
      );
    };
    load();
    return () => {
      ended = true;
      stop?.();
    };
  }

  #load(): Promise<OperationStore> {
    this.#loading ??= import("./store.ts").then(({ OperationStore, readablePaths }) => {
      const paths = (): readonly string[] => readablePaths(this.#source.grants());
      this.#store = new OperationStore({ ...this.#source, paths });
      if (this.#closed) this.#store.close();
      return this.#store;
    });
    return this.#loading;
  }
}

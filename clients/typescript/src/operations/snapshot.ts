/** What a store of operations shows. */

import type { TidingsError } from "../errors.ts";
import type { Store } from "../store.ts";
import type { Operation } from "./operation.ts";

/** All operations: an immutable snapshot. */
export interface OperationsSnapshot {
  /**
   * - `loading`: the operations have not been read yet.
   * - `ready`: `operations` follows the hub; the state of the client's connection tells whether it is current.
   * - `failed`: they cannot be read; `error` states why. The store tries again.
   */
  readonly status: "loading" | "ready" | "failed";
  /** All operations that are known, the attempt that began last first. */
  readonly operations: readonly Operation[];
  /** Their ids, in the same order: the same array until operations come, go or move. */
  readonly ids: readonly string[];
  /** Whether these are all operations of the hub; `loadOlder` reads more. */
  readonly complete: boolean;
  /** Why the list could not be read; with `ready`, what is shown comes from the events alone. */
  readonly error?: TidingsError | undefined;
}

/** Store of one operation: undefined while it has not been read, null if the hub does not know it. */
export type SingleOperationStore = Store<Operation | null | undefined>;

/** The operations of a hub. They are read and followed while anything listens to them. */
export interface Operations extends Store<OperationsSnapshot> {
  /** Returns the store of one operation, whose listeners are called for no other. */
  operation(id: string): SingleOperationStore;
  /** Reads the next thousand older operations; does nothing if `complete`. */
  loadOlder(signal?: AbortSignal): Promise<void>;
}

/** The operations before any was read. */
export const NO_OPERATIONS: OperationsSnapshot = Object.freeze({
  status: "loading",
  operations: Object.freeze([]),
  ids: Object.freeze([]),
  complete: false,
});

/** Values that change, in the form that `useSyncExternalStore` of React and signals read. */

/** A value that changes. Its snapshots are referentially stable: equal values are the same object. */
export interface Store<T> {
  /** Call `listener` after each change, until the returned function is called. */
  subscribe(listener: () => void): () => void;
  /** Return the value now: the same object until it changes. */
  getSnapshot(): T;
  /** Return the value with which a server renders: the same object always. */
  getServerSnapshot(): T;
}

/** A store whose owner sets its value. */
export class ValueStore<T> implements Store<T> {
  #value: T;
  readonly #initial: T;
  readonly #listeners = new Set<{ call: () => void }>();
  readonly #onUse: (used: boolean) => void;

  /**
   * @param initial - The first value, which a server renders.
   * @param onUse - Called with true before the first listener is added, and with false after the last was removed.
   */
  constructor(initial: T, onUse: (used: boolean) => void = () => {}) {
    this.#value = this.#initial = initial;
    this.#onUse = onUse;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    const entry = { call: listener }; // one function may be subscribed twice
    this.#listeners.add(entry);
    if (this.#listeners.size === 1) this.#onUse(true);
    return () => {
      if (this.#listeners.delete(entry) && this.#listeners.size === 0) this.#onUse(false);
    };
  };

  readonly getSnapshot = (): T => this.#value;

  readonly getServerSnapshot = (): T => this.#initial;

  /** Replace the value, and call the listeners; an error of one stops no other. */
  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const { call } of [...this.#listeners]) callSafely(call);
  }
}

/** Call `callback`; report what it throws as an uncaught error, because the client must go on. */
export function callSafely(callback: () => void): void {
  try {
    callback();
  } catch (error) {
    const fail = (): never => {
      throw error;
    };
    if (typeof reportError === "function") reportError(error);
    else queueMicrotask(fail);
  }
}

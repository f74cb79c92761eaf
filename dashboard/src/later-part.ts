/** Parts of the dashboard in files of their own: the list of operations does not need them, and should be there sooner. */

import { effect, type ReadonlySignal, signal } from "@preact/signals";
import { connection } from "./hub.ts";

/** A part that is loaded later. One that did not load is tried again when the link to the hub is back. */
export class LaterPart<T> {
  readonly #import: () => Promise<T>;
  readonly #value = signal<T | undefined>(undefined);
  readonly #isMissing = signal(false);
  #isLoading = false;

  /** @param load - Imports the part. */
  constructor(load: () => Promise<T>) {
    this.#import = load;
  }

  /** The part; undefined until it is loaded. */
  get value(): ReadonlySignal<T | undefined> {
    return this.#value;
  }

  /** Whether it could not be loaded: the network was lost, or the hub was upgraded and has only that of newer pages. */
  get isMissing(): ReadonlySignal<boolean> {
    return this.#isMissing;
  }

  /** Load the part, unless it is there or on its way. */
  async load(): Promise<void> {
    if (this.#isLoading || this.#value.peek() !== undefined) return;
    this.#isLoading = true;
    try {
      this.#value.value = await this.#import();
      this.#isMissing.value = false;
    } catch {
      this.#isMissing.value = true;
      whenLiveAgain(() => void this.load());
    }
    this.#isLoading = false;
  }
}

/** Calls `callback` once, when the link becomes live the next time. */
function whenLiveAgain(callback: () => void): void {
  let wasLive = true;
  const stop = effect(() => {
    const isLive = connection.value.state === "live";
    const isBack = isLive && !wasLive;
    wasLive = isLive;
    if (isBack) queueMicrotask(end);
  });
  function end(): void {
    stop();
    callback();
  }
}

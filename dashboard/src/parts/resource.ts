/** An answer of the hub that a page shows, loaded with the page and again when it may have changed. */

import { type ReadonlySignal, signal, useSignalEffect } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { connection } from "../hub.ts";

/** What was loaded, and what went wrong last. A value stays while another one is loaded, and when that fails. */
export interface Resource<T> {
  readonly value: ReadonlySignal<T | undefined>;
  /** Why the last load failed; undefined while the value is the newest that is known. */
  readonly error: ReadonlySignal<unknown>;
  /** Loads again. Calls during a load are one more load after it. */
  readonly reload: () => void;
}

/** Loads, and holds what was loaded. */
export class Loader<T> implements Resource<T> {
  readonly value = signal<T | undefined>(undefined);
  readonly error = signal<unknown>(undefined);
  readonly #load: (signal: AbortSignal) => Promise<T>;
  #running: AbortController | undefined;
  #isWanted = false;

  /** @param load - Loads the value; it is aborted when the page leaves. */
  constructor(load: (signal: AbortSignal) => Promise<T>) {
    this.#load = load;
  }

  readonly reload = (): void => {
    if (this.#running === undefined) void this.#run();
    else this.#isWanted = true;
  };

  /** Ends a load that is under way. */
  stop(): void {
    this.#isWanted = false;
    this.#running?.abort();
    this.#running = undefined;
  }

  async #run(): Promise<void> {
    const running = new AbortController();
    this.#running = running;
    try {
      const value = await this.#load(running.signal);
      if (running.signal.aborted) return;
      this.value.value = value;
      this.error.value = undefined;
    } catch (error) {
      if (running.signal.aborted) return;
      this.error.value = error;
    }
    this.#running = undefined;
    if (!this.#isWanted) return;
    this.#isWanted = false;
    void this.#run();
  }
}

/**
 * A resource of a component: loaded when it is shown, when `key` changes, and when the link to the hub is back.
 *
 * @param load - Loads the value.
 * @param key - What the value depends on.
 */
export function useResource<T>(load: (signal: AbortSignal) => Promise<T>, key: string): Resource<T> {
  const loader = useMemo(() => new Loader(load), [key]);
  useEffect(() => {
    loader.reload();
    return () => loader.stop();
  }, [loader]);
  useLinkReturn(loader.reload);
  return loader;
}

/** Calls `run` whenever the link to the hub becomes live while the component is shown. */
export function useLinkReturn(run: () => void): void {
  const last = useRef(run);
  last.current = run;
  const wasLive = useRef(connection.peek().state === "live");
  useSignalEffect(() => {
    const isLive = connection.value.state === "live";
    if (isLive && !wasLive.current) last.current();
    wasLive.current = isLive;
  });
}

/** The iterator of a watch: items wait in a bounded buffer, and what does not fit is reported. */
import type { TidingsError } from "./errors.ts";
import type { RawItem, Sink, WatchItem } from "./items.ts";

export class WatchIterator implements AsyncIterableIterator<WatchItem>, Sink {
  readonly persistent = false;
  readonly #size: number;
  #buffer: WatchItem[] = [];
  /** Position of the event that was buffered last. */
  #position = "";
  #dropped: { after: string; until: string; dropped: number } | undefined;
  /** Continue the calls of `next` that wait for an item. */
  readonly #waiting: ((result: IteratorResult<WatchItem> | Promise<IteratorResult<WatchItem>>) => void)[] = [];
  #ended = false;
  #error: unknown;
  readonly #onClose: () => void;

  /** @param size - Items that may wait. @param onClose - Called once, when no more items are wanted. */
  constructor(size: number, onClose: () => void) {
    this.#size = size;
    this.#onClose = onClose;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  take(items: readonly RawItem[]): void {
    if (this.#ended) return;
    for (const item of items as readonly WatchItem[]) {
      const resolve = this.#waiting.shift();
      if (resolve !== undefined) resolve({ value: item, done: false });
      else if (this.#dropped !== undefined || this.#buffer.length >= this.#size) this.#drop(item);
      else this.#buffer.push(item);
      if ("position" in item && this.#dropped === undefined) this.#position = item.position;
    }
  }

  #drop(item: WatchItem): void {
    this.#dropped ??= { after: this.#position, until: this.#position, dropped: 0 };
    this.#dropped.dropped += 1;
    if ("position" in item) this.#dropped.until = item.position;
  }

  end(error?: TidingsError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    for (const resolve of this.#waiting.splice(0)) resolve(this.next());
  }

  async next(): Promise<IteratorResult<WatchItem>> {
    const item = this.#buffer.shift();
    if (item !== undefined) return { value: item, done: false };
    if (this.#dropped !== undefined) {
      const data = this.#dropped;
      this.#dropped = undefined;
      this.#position = data.until;
      return { value: { type: "client:overflow", data }, done: false };
    }
    if (this.#ended) {
      // An error is thrown once; after it the iterator is done.
      const error = this.#error;
      this.#error = undefined;
      if (error !== undefined) throw error;
      return { value: undefined, done: true };
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Stop: what waits is dropped. `for await` calls it after `break` and `throw`. */
  async return(): Promise<IteratorResult<WatchItem>> {
    this.stop();
    return this.next();
  }

  async throw(error: unknown): Promise<IteratorResult<WatchItem>> {
    this.stop();
    throw error;
  }

  /** Stop with `error`, or without one. */
  stop(error?: unknown): void {
    const was = this.#ended;
    this.#buffer = [];
    this.#dropped = this.#error = undefined;
    this.end(error as TidingsError | undefined);
    if (!was) this.#onClose();
  }
}

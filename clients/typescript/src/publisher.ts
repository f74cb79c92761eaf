/** Publishes events over HTTP, in the order of the calls: what comes while a post is on its way goes in the next. */
import { ConfigError, type ErrorData, HubUnreachableError, makeHubError } from "./errors.ts";
import { type HttpClient, withField } from "./http.ts";
import type { Accepted, PublishOptions } from "./options.ts";

/** Events in one post; the hub's limit. */
const MAX_EVENTS = 1_000;
/** Characters of the events in one post: under the hub's 4 MiB, also if each takes three bytes. */
const MAX_CHARS = 1_000_000;

interface Waiting {
  readonly body: Record<string, unknown>;
  readonly chars: number;
  readonly eventId: string;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (accepted: Accepted) => void;
  readonly reject: (error: unknown) => void;
}

interface Result {
  readonly position?: string;
  readonly attempt?: number;
  readonly duplicate?: boolean;
  readonly error?: ErrorData;
}

export class Publisher {
  readonly #http: HttpClient;
  readonly #random: () => number;
  #waiting: Waiting[] = [];
  #posting = false;

  constructor(http: HttpClient, random: () => number) {
    this.#http = http;
    this.#random = random;
  }

  /** Publish an event; resolve when it is stored. */
  async publish(type: string, data: unknown, options: PublishOptions): Promise<Accepted> {
    const { channel, timestamp, traceId, signal } = options;
    const eventId = options.eventId ?? makeId(this.#random);
    const body = { type, timestamp, trace_id: traceId, channel, event_id: eventId, data: data ?? null };
    signal?.throwIfAborted();
    const text = JSON.stringify(body);
    if (text.length > MAX_CHARS) throw new ConfigError("the event is too large", "Publish a link to its data.");
    let abort = (): void => {};
    try {
      return await new Promise((resolve, reject) => {
        abort = () => reject(signal?.reason);
        signal?.addEventListener("abort", abort);
        this.#waiting.push({ body, chars: text.length, eventId, signal, resolve, reject });
        this.#post();
      });
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  async #post(): Promise<void> {
    if (this.#posting) return;
    this.#posting = true;
    await undefined; // events of one task share a post
    while (this.#waiting.length > 0) await this.#postBatch(this.#takeBatch());
    this.#posting = false;
  }

  #takeBatch(): Waiting[] {
    let chars = 0;
    let count = 0;
    for (const event of this.#waiting) {
      chars += event.chars;
      if (count > 0 && (count === MAX_EVENTS || chars > MAX_CHARS)) break;
      count += 1;
    }
    return this.#waiting.splice(0, count).filter(({ signal }) => !signal?.aborted);
  }

  async #postBatch(batch: readonly Waiting[]): Promise<void> {
    if (batch.length === 0) return;
    try {
      const { results } = await this.#postTwice(batch);
      batch.forEach((event, index) => {
        const { error, ...accepted } = results[index] ?? {};
        if (error !== undefined || accepted.position === undefined) {
          event.reject(makeHubError(error ?? { code: "hub_error", message: "no result", recoverable: true }));
        } else event.resolve({ eventId: event.eventId, ...accepted, position: accepted.position });
      });
    } catch (error) {
      for (const event of batch) event.reject(error);
    }
  }

  /** Post, and once more if the answer was lost: the events have ids, so the hub stores each once. */
  async #postTwice(batch: readonly Waiting[]): Promise<{ results: readonly Result[] }> {
    const post = async (): Promise<{ results: readonly Result[] }> =>
      withField(await this.#http.request("v1/events", { body: batch.map(({ body }) => body) }), "results");
    try {
      return await post();
    } catch (error) {
      if (error instanceof HubUnreachableError) return post();
      throw error;
    }
  }
}

/** Return a new event id: 32 hex digits. `crypto.randomUUID` is missing on plain http. */
export function makeId(random: () => number): string {
  const { crypto } = globalThis as Partial<typeof globalThis>;
  const bytes = new Uint8Array(16);
  if (crypto?.getRandomValues === undefined) bytes.set(bytes.map(() => Math.floor(random() * 256)));
  else crypto.getRandomValues(bytes);
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

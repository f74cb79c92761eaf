/** Event streams over HTTP: an EventSource sends no `Authorization`, shows no heartbeats, and gives up after an error. */
import { NotAHubError, TidingsError } from "./errors.ts";
import type { HttpClient } from "./http.ts";
import type { Transport, TransportHandlers } from "./link.ts";
import type { Subscription } from "./subscription.ts";

/** Values of one parameter; the hub's limit. */
const MAX_VALUES = 100;
/** Characters of one block: four times what the hub lets an event be, as for a WebSocket message. */
const MAX_BLOCK = 1 << 20;

/** Parses a stream of Server-Sent Events (https://html.spec.whatwg.org/multipage/server-sent-events.html). */
export class StreamParser {
  readonly #onData: (data: string) => void;
  readonly #onComment: () => void;
  /** What has come of a line; with the start of a stream it may begin with a byte order mark. */
  #line = "";
  #data: string[] = [];
  #size = 0;
  #first = true;
  /** Whether the last character was a CR: an LF after it ends no line. */
  #afterReturn = false;

  /** @param onData - Called with the data of each block. @param onComment - Called for each comment. */
  constructor(onData: (data: string) => void, onComment: () => void) {
    this.#onData = onData;
    this.#onComment = onComment;
  }

  /**
   * Take the next part of the stream, decoded from UTF-8.
   *
   * @throws {@link NotAHubError} when a block is larger than a hub's can be.
   */
  feed(text: string): void {
    let start = this.#afterReturn && text.startsWith("\n") ? 1 : 0;
    if (text !== "") this.#afterReturn = false;
    for (let at = start; at < text.length; at += 1) {
      const character = text[at];
      if (character !== "\n" && character !== "\r") continue;
      this.#end(this.#line + text.slice(start, at));
      this.#line = "";
      if (character === "\r") {
        if (at + 1 === text.length) this.#afterReturn = true;
        else if (text[at + 1] === "\n") at += 1;
      }
      start = at + 1;
    }
    this.#line += text.slice(start);
    if (this.#line.length + this.#size > MAX_BLOCK) throw new NotAHubError("a block of the stream is too large");
  }

  #end(whole: string): void {
    const line = this.#first && whole.startsWith("\uFEFF") ? whole.slice(1) : whole;
    this.#first = false;
    if (line === "") {
      if (this.#data.length > 0) this.#onData(this.#data.join("\n"));
      this.#data = [];
      this.#size = 0;
    } else if (line.startsWith(":")) this.#onComment();
    else if (line === "data" || line.startsWith("data:")) {
      const value = line.slice(5);
      this.#data.push(value.startsWith(" ") ? value.slice(1) : value);
      this.#size += value.length;
    }
  }
}

/** Open a stream of `paths`. Its handlers are called until it is closed from either side, and never after. */
export function openStream(
  http: HttpClient,
  paths: readonly string[],
  since: string,
  handlers: TransportHandlers,
): Transport {
  const abort = new AbortController();
  const { signal } = abort;
  // Whole channels if the paths are too many for an address: the client drops what no watch asked for.
  const channel = paths.length <= MAX_VALUES ? paths : [...new Set(paths.map((path) => path.split("/", 1)[0] ?? path))];
  const parser = new StreamParser(
    (data) => signal.aborted || handlers.received(data),
    () => signal.aborted || handlers.heard(),
  );
  const read = async (): Promise<void> => {
    const answer = await http.send("v1/stream", { query: { channel, since }, signal });
    const type = answer.headers.get("Content-Type") ?? "";
    if (!type.startsWith("text/event-stream") || answer.body === null) {
      throw new NotAHubError(`the answer is ${type || "empty"}, not a hub's`);
    }
    handlers.opened();
    const reader = answer.body.getReader();
    const decoder = new TextDecoder();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      parser.feed(decoder.decode(part.value, { stream: true }));
    }
    if (!signal.aborted) handlers.closed(1006, "");
  };
  read().catch((error: unknown) => {
    if (signal.aborted) return;
    abort.abort();
    if (error instanceof TidingsError) handlers.failed(error);
    else handlers.closed(1006, ""); // the network failed in the middle
  });
  return { send: () => {}, close: () => abort.abort() };
}

/** Where a stream begins that takes all watches on. */
export interface StreamPlan {
  /** The watch whose beginning must be read over HTTP before; undefined if the stream can be opened. */
  readonly next?: Subscription;
  readonly since: string;
}

export type PlanStream = typeof planStream;

/**
 * Return the next step to a stream, and bring the watches into its state. A stream has one start: where the live ones
 * are, or where the first of the others has read to over HTTP.
 *
 * @param position - Of the live watches.
 */
export function planStream(all: readonly Subscription[], position: string): StreamPlan {
  const others = all.filter(({ alone, since, state }) => state === "new" && (alone || since !== position));
  const [first] = others;
  const together = others.length === all.length && others.every(({ alone, since }) => !alone && since === first?.since);
  // One that starts now needs no beginning: it starts with the `channel:live` of the stream.
  const next = together ? undefined : others.find(({ alone, since }) => alone || since !== "now");
  if (next !== undefined) {
    next.state = "joining";
    return { next, since: "" };
  }
  const joined = all.find(({ since, state }) => state === "joining" && since !== "now");
  const resumed = all.some(({ since, state }) => state === "new" && since === position);
  const since = together ? first?.since : resumed ? position : joined?.since;
  for (const subscription of all) {
    if (!together && subscription.since === "now") subscription.state = "joining";
    else if (subscription.state === "joining") subscription.waiting = [];
    else subscription.state = "reading";
  }
  return { since: since ?? "now" };
}

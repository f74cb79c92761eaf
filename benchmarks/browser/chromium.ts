/**
 * Chromium with pages to which no debugger is attached: an attached one gets a message for each frame of a WebSocket,
 * which costs the page more than the page itself does. Only the browser is asked, over its DevTools socket.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { CHROMIUM } from "../../tests/browser/executables.ts";
import { Process } from "../../tests/browser/processes.ts";

const FLAGS = [
  "--no-sandbox",
  "--headless=new",
  "--remote-debugging-port=0",
  "--no-first-run",
  "--no-default-browser-check",
  "--disable-component-update",
  "--disable-sync",
  "--disable-extensions",
  "--window-size=1440,900",
];
const POLL_MS = 100;
const MAX_TRIES = 600;

interface Answer {
  readonly id?: number;
  readonly method?: string;
  readonly sessionId?: string;
  readonly params?: unknown;
  readonly result?: unknown;
  readonly error?: { readonly message: string };
}

/** A browser of its own, with a fresh profile. */
export class Chromium {
  readonly #process: Process;
  readonly #profile: string;
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, { resolve: (result: never) => void; reject: (error: Error) => void }>();
  readonly #listeners = new Set<(answer: Answer) => void>();
  #commands = 0;

  private constructor(process: Process, profile: string, socket: WebSocket) {
    this.#process = process;
    this.#profile = profile;
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => this.#receive(JSON.parse(String(data)) as Answer));
  }

  static async launch(): Promise<Chromium> {
    const profile = mkdtempSync(join(tmpdir(), "tidings-chromium-"));
    const process = new Process(CHROMIUM, [...FLAGS, `--user-data-dir=${profile}`, "about:blank"], {
      endSignal: "SIGTERM",
    });
    const [, address = ""] = await process.printed(/DevTools listening on (\S+)/);
    const socket = new WebSocket(address);
    await new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve);
      socket.addEventListener("error", reject);
    });
    return new Chromium(process, profile, socket);
  }

  /** Send a command to the browser, or to the page of a session. */
  async send<Result>(
    method: string,
    params: Readonly<Record<string, unknown>> = {},
    sessionId?: string,
  ): Promise<Result> {
    this.#commands += 1;
    const id = this.#commands;
    return await new Promise<Result>((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (result: never) => void, reject });
      this.#socket.send(JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) }));
    });
  }

  /** Collect the events of a name, of the browser or of a session, until `stop` is called. */
  collect<Event>(method: string, sessionId?: string): { readonly stop: () => Event[] } {
    const events: Event[] = [];
    const listen = (answer: Answer): void => {
      if (answer.method === method && answer.sessionId === sessionId) events.push(answer.params as Event);
    };
    this.#listeners.add(listen);
    const stop = (): Event[] => {
      this.#listeners.delete(listen);
      return events;
    };
    return { stop };
  }

  /** Wait for an event of the browser. */
  async next<Event>(method: string): Promise<Event> {
    return await new Promise((resolve) => {
      const listen = (answer: Answer): void => {
        if (answer.method !== method) return;
        this.#listeners.delete(listen);
        resolve(answer.params as Event);
      };
      this.#listeners.add(listen);
    });
  }

  /** Open a page in a tab that hides the others of its window, or in a window of its own; return its id. */
  async open(url: string, isWindow = false): Promise<string> {
    const { targetId } = await this.send<{ targetId: string }>("Target.createTarget", { url, newWindow: isWindow });
    return targetId;
  }

  /** Show the tab. */
  async activate(targetId: string): Promise<void> {
    await this.send("Target.activateTarget", { targetId });
  }

  /** Freeze a hidden tab, as Chromium does with tabs that were hidden for minutes. */
  async freeze(targetId: string): Promise<void> {
    await this.attached(targetId, async (session) => {
      await this.send("Page.setWebLifecycleState", { state: "frozen" }, session);
    });
  }

  /** Attach for the time of a call. */
  async attached<Result>(targetId: string, use: (sessionId: string) => Promise<Result>): Promise<Result> {
    const { sessionId } = await this.send<{ sessionId: string }>("Target.attachToTarget", { targetId, flatten: true });
    try {
      return await use(sessionId);
    } finally {
      await this.send("Target.detachFromTarget", { sessionId });
    }
  }

  /** The value of an expression, or of the promise that it is, in a page. */
  async evaluate<Value>(targetId: string, expression: string): Promise<Value> {
    return await this.attached(targetId, async (session) => {
      const parameters = { expression, awaitPromise: true, returnByValue: true };
      const { result, exceptionDetails } = await this.send<{
        result: { value: Value };
        exceptionDetails?: { text: string };
      }>("Runtime.evaluate", parameters, session);
      if (exceptionDetails !== undefined) throw new Error(`${expression}: ${exceptionDetails.text}`);
      return result.value;
    });
  }

  /** Wait until an expression is true in a page; errors are those of a page that is still loading. */
  async until(targetId: string, condition: string): Promise<void> {
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      if (await this.evaluate(targetId, `Boolean(${condition})`).catch(() => false)) return;
      await pause(POLL_MS);
    }
    throw new Error(`never true: ${condition}`);
  }

  /** The ids of the processes that draw pages. */
  async renderers(): Promise<number[]> {
    type Info = { processInfo: { type: string; id: number }[] };
    const { processInfo } = await this.send<Info>("SystemInfo.getProcessInfo");
    return processInfo.filter(({ type }) => type === "renderer").map(({ id }) => id);
  }

  async close(): Promise<void> {
    void this.send("Browser.close"); // often without an answer
    await this.#process.ended;
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }

  #receive(answer: Answer): void {
    const { id, result, error } = answer;
    if (id === undefined) {
      for (const listen of this.#listeners) listen(answer);
      return;
    }
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.resolve(result as never);
    else waiting?.reject(new Error(error.message));
  }
}

/** CPU time of a process's main thread so far, in seconds. */
export function mainThreadSeconds(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, "utf8").split(" ")[0]) / 1e9;
}

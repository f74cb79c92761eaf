/** Real processes for tests: commands of ours, hubs, and jobs that a test steers. All end with the test's worker. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { PYTHON, TIDINGS } from "./executables.ts";

const running = new Set<Process>();
process.on("exit", () => {
  for (const one of running) one.kill();
});

/** A folder of its own for a test, which `remove` deletes. */
export class Folder {
  readonly path = mkdtempSync(join(tmpdir(), "tidings-browser-"));

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

export interface ProcessOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** The signal that ends it together with its own processes; by default SIGKILL, which also ends stopped ones. */
  readonly endSignal?: NodeJS.Signals;
}

/** The environment of the tests without the developer's own settings. */
export function environment(variables: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(TIDINGS_|XDG_)/.test(name));
  return { ...Object.fromEntries(kept), NO_COLOR: "1", COLUMNS: "100", ...variables };
}

/** A process with its output as text, which is read from its start. */
export class Process {
  readonly ended: Promise<number | null>;
  #output = "";
  #errors = "";
  readonly #child: ChildProcess;
  readonly #endSignal: NodeJS.Signals;
  readonly #waiting = new Set<() => void>();

  constructor(command: string, arguments_: readonly string[], options: ProcessOptions = {}) {
    this.#child = spawn(command, [...arguments_], {
      env: environment(options.env),
      stdio: ["pipe", "pipe", "pipe"],
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    this.#endSignal = options.endSignal ?? "SIGKILL";
    running.add(this);
    this.#child.stdin?.on("error", () => undefined); // of a process that has ended
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#output += text;
      this.#wake();
    });
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#errors += text;
      this.#wake();
    });
    this.ended = new Promise((resolve, reject) => {
      this.#child.on("error", reject);
      this.#child.on("close", (code) => {
        running.delete(this);
        resolve(code);
        this.#wake();
      });
    });
    this.ended.catch(() => undefined);
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error("the process did not start");
    return this.#child.pid;
  }

  get output(): string {
    return this.#output;
  }

  get errors(): string {
    return this.#errors;
  }

  get isRunning(): boolean {
    return running.has(this);
  }

  write(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  closeInput(): void {
    this.#child.stdin?.end();
  }

  signal(name: NodeJS.Signals): void {
    if (this.isRunning) process.kill(this.pid, name);
  }

  kill(): void {
    this.#child.kill(this.#endSignal);
  }

  /** Wait until stdout or stderr matches, and return the match. */
  async printed(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this.#output) ?? pattern.exec(this.#errors);
      if (found !== null) return found;
      if (!this.isRunning) throw new Error(`the process ended without ${pattern}: ${this.#output}${this.#errors}`);
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  async stop(): Promise<void> {
    this.kill();
    await this.ended;
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }
}

export interface HubOptions extends ProcessOptions {
  readonly port?: number;
  /** Folder of the log; without one, the log is in memory. */
  readonly data?: string;
  readonly options?: readonly string[];
}

/** A hub in a process of its own. */
export class Hub extends Process {
  readonly port: number;

  private constructor(port: number, { data, options = [], ...rest }: HubOptions) {
    const log = data === undefined ? ["--memory"] : ["--data", data];
    super(TIDINGS, ["serve", "--port", String(port), ...log, ...options], rest);
    this.port = port;
  }

  /** Start a hub, and wait until it serves. */
  static async start(options: HubOptions = {}): Promise<Hub> {
    const hub = new Hub(options.port ?? (await freePort()), options);
    await hub.printed(/^ws/m);
    return hub;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/`;
  }

  /** Publish events over HTTP, in order. */
  async publish(...events: readonly PublishedEvent[]): Promise<void> {
    const answer = await fetch(new URL("v1/events", this.url), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(events),
    });
    const body = await answer.text();
    if (!answer.ok || body.includes('"code":')) throw new Error(`the hub refused: ${body.slice(0, 2000)}`);
  }

  /** The samples of a metric, by their labels. */
  async metric(name: string): Promise<number> {
    const text = await (await fetch(new URL("metrics", this.url))).text();
    const samples = text.split("\n").filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
    return samples.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
  }
}

export interface PublishedEvent {
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly trace_id?: string;
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** A job in a real process with the Python producer; a test writes what it does next. */
export class Job extends Process {
  private constructor(hub: Hub, name: string, options: Readonly<Record<string, unknown>>, env: Record<string, string>) {
    const script = fileURLToPath(new URL("job.py", import.meta.url));
    super(PYTHON, [script, name, JSON.stringify(options)], { env: { TIDINGS_URL: hub.url, ...env } });
  }

  /** Start a job, and wait until the hub knows its operation. */
  static async start(
    hub: Hub,
    name: string,
    options: Readonly<Record<string, unknown>> = {},
    env: Record<string, string> = {},
  ): Promise<Job & { readonly id: string }> {
    const job = new Job(hub, name, options, env);
    const [, id = ""] = await job.printed(/^started (\S+)$/m);
    const address = new URL(`v1/operation?operation_id=${encodeURIComponent(id)}`, hub.url);
    const token = env["TIDINGS_TOKEN"];
    const headers: HeadersInit = token === undefined ? {} : { authorization: `Bearer ${token}` };
    while ((await fetch(address, { headers })).status === 404) await setTimeout(20);
    return Object.assign(job, { id });
  }

  progress(percent: number, message?: string): void {
    this.write(JSON.stringify({ progress: [percent, message ?? null] }));
  }

  log(message: string, level = "info"): void {
    this.write(JSON.stringify({ log: [message, level] }));
  }

  complete(result: unknown = null): void {
    this.write(JSON.stringify({ complete: [result] }));
  }

  fail(code: string, message: string, hint = ""): void {
    this.write(JSON.stringify({ fail: [code, message, hint] }));
  }
}

/** Run a command of ours to its end, and return its stdout. */
export async function tidings(arguments_: readonly string[], env: Record<string, string> = {}): Promise<string> {
  const command = new Process(TIDINGS, arguments_, { env });
  command.closeInput();
  const code = await command.ended;
  if (code !== 0) throw new Error(`tidings ${arguments_.join(" ")}: exit code ${code}: ${command.errors}`);
  return command.output;
}

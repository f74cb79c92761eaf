/** Real hubs for tests: started from the repository's virtualenv, and stopped with the test. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
/** Environment variable with the command line program to use. */
const VARIABLE = "TIDINGS";

export interface TestHub {
  /** URL of the WebSocket. */
  readonly url: string;
  /** URL of the HTTP interface, with a slash at its end. */
  readonly http: string;
  readonly port: number;
  readonly process: ChildProcess;
  /** What the hub has written so far. */
  output(): string;
  /** Publish events over HTTP, and return their positions. */
  publish(...events: readonly { type: string; data: unknown; channel?: string }[]): Promise<string[]>;
  /** Stop the hub; `signal` is SIGTERM by default. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

export interface TestHubOptions {
  /** Further arguments of `tidings serve`. */
  args?: readonly string[];
  /** Default 0: a free one. */
  port?: number;
  /** Folder of the log, which outlives the hub; by default the log is in memory. */
  data?: string;
  env?: Readonly<Record<string, string>>;
}

/** Start a hub, and resolve when it answers. */
export async function startHub(options: TestHubOptions = {}): Promise<TestHub> {
  const folder = await mkdtemp(join(tmpdir(), "tidings-test-"));
  const log = options.data === undefined ? ["--memory"] : ["--data", options.data];
  const args = ["serve", "--port", String(options.port ?? 0), ...log, ...(options.args ?? [])];
  const child = spawn(program(), args, {
    env: { ...process.env, XDG_STATE_HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const stop = async (signal: NodeJS.Signals = "SIGTERM"): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  const url = await new Promise<string>((resolve, reject) => {
    const read = (data: Buffer): void => {
      output += data.toString();
      const found = /\bws:\/\/127\.0\.0\.1:\d+\S*/.exec(output);
      if (found !== null && output.includes("hub ready")) resolve(found[0]);
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`the hub ended:\n${output}`)));
  });
  const http = url.replace("ws:", "http:").replace(/ws$/, "");
  return {
    url,
    http,
    port: Number(new URL(url).port),
    process: child,
    output: () => output,
    async publish(...events) {
      const answer = await fetch(`${http}v1/events`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(events),
      });
      const { results } = (await answer.json()) as { results: { position?: string; error?: unknown }[] };
      return results.map(({ error, position }) => {
        if (position === undefined) throw new Error(JSON.stringify(error));
        return position;
      });
    },
    stop,
  };
}

/** Return the command line program: that of the variable, of the repository's virtualenv, or on PATH. */
export function program(): string {
  const named = process.env[VARIABLE];
  const { PATH = "" } = process.env;
  const folders = [join(ROOT, ".venv/bin"), ...PATH.split(delimiter)];
  const found = named ?? folders.map((folder) => join(folder, "tidings")).find((path) => existsSync(path));
  if (found === undefined) throw new Error(`no program 'tidings': set ${VARIABLE}, or install the repository`);
  return found;
}

/** The load of the benchmarks: a process that publishes the events of many jobs at a steady rate. */
import { PYTHON, ROOT } from "../../tests/browser/executables.ts";
import { type Hub, Process } from "../../tests/browser/processes.ts";

export interface Load {
  readonly running: number;
  /** Events per second. */
  readonly rate: number;
  /** Progress updates of each run. */
  readonly updates?: number;
  /** Log lines of each run. */
  readonly logs?: number;
  /** Size of `data:update` events to publish instead of runs, in bytes. */
  readonly padding?: number;
}

/** Events published, and the seconds that it took. */
export interface Published {
  readonly events: number;
  readonly seconds: number;
}

/** Publish until `stop` is called. */
export class Publisher {
  readonly #process: Process;

  constructor(hub: Hub, { running, rate, updates = 1000, logs = 0, padding = 0 }: Load) {
    const options = { running, rate, updates, logs, padding };
    const flags = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
    this.#process = new Process(PYTHON, ["-m", "benchmarks.browser.load", hub.url, ...flags], { cwd: ROOT });
  }

  async stop(): Promise<Published> {
    this.#process.closeInput();
    if ((await this.#process.ended) !== 0) throw new Error(this.#process.errors);
    return JSON.parse(this.#process.output) as Published;
  }
}

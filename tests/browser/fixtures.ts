/** What every test of a page has: a hub of its own, and a page that may log no error and break no policy. */
import { type BrowserContext, test as base, expect, type Page } from "@playwright/test";
import { CHROMIUM, needs } from "./executables.ts";
import { Folder, Hub, type HubOptions, Job, type Process } from "./processes.ts";
import { Wire } from "./wire.ts";

export { expect };

/** Faults that pages reported themselves: errors on the console, uncaught errors, violations of their policy. */
export class Faults {
  readonly #found: string[] = [];
  readonly #expected: RegExp[] = [];

  /** Let the test's own doing, such as a hub that is away, appear on the console. */
  expect(pattern: RegExp): void {
    this.#expected.push(pattern);
  }

  get unexpected(): readonly string[] {
    return this.#found.filter((fault) => !this.#expected.some((pattern) => pattern.test(fault)));
  }

  /** Note the faults of all pages of a browser context. */
  async watch(context: BrowserContext): Promise<void> {
    await context.exposeBinding("reportViolation", (_source, violation: string) => {
      this.#found.push(`policy: ${violation}`);
    });
    await context.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (event) => {
        const report = (globalThis as unknown as { reportViolation(text: string): void }).reportViolation;
        report(
          `${event.violatedDirective}: ${event.blockedURI} ${event.sample} ${event.sourceFile}:${event.lineNumber}`,
        );
      });
    });
    context.on("console", (message) => {
      if (message.type() === "error") this.#found.push(`console: ${message.text()} ${message.location().url}`);
    });
    context.on("weberror", (raised) => {
      const thrown = raised.error();
      this.#found.push(`uncaught: ${thrown.stack ?? thrown.message}`);
    });
  }
}

/** What a browser logs while its network or its hub is away. */
export const AWAY =
  /ERR_CONNECTION_(REFUSED|RESET|CLOSED)|ERR_EMPTY_RESPONSE|WebSocket connection to|ERR_INTERNET_DISCONNECTED|ERR_NETWORK|ERR_SOCKET_NOT_CONNECTED/;

interface Fixtures {
  faults: Faults;
  folder: string;
  start: Starter;
  hub: Hub;
}

/** Starts processes, and connections to them, that end with the test. */
export interface Starter {
  hub(options?: HubOptions): Promise<Hub>;
  job(
    hub: Hub,
    name: string,
    options?: Record<string, unknown>,
    env?: Record<string, string>,
  ): ReturnType<typeof Job.start>;
  process<T extends Process>(started: T): T;
  /** The only way from the browser to a hub, which the test can cut. */
  wire(hub: Hub): Promise<Wire>;
}

export const test = base.extend<Fixtures>({
  faults: [
    async ({ context }, use) => {
      const faults = new Faults();
      await faults.watch(context);
      await use(faults);
      expect(faults.unexpected).toEqual([]);
    },
    { auto: true },
  ],
  // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the names of fixtures from this pattern
  folder: async ({}, use) => {
    const folder = new Folder();
    await use(folder.path);
    folder.remove();
  },
  start: async ({ context, folder }, use) => {
    const started: Process[] = [];
    const wires: Wire[] = [];
    const env = { XDG_STATE_HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder, TMPDIR: folder };
    const keep = <T extends Process>(one: T): T => {
      started.push(one);
      return one;
    };
    await use({
      hub: async (options = {}) => keep(await Hub.start({ ...options, env: { ...env, ...options.env } })),
      job: async (hub, name, options, more = {}) => keep(await Job.start(hub, name, options, { ...env, ...more })),
      process: keep,
      wire: async (hub) => {
        const wire = await Wire.to(hub.port);
        wires.push(wire);
        return wire;
      },
    });
    for (const page of context.pages()) await page.close(); // before what they are linked to
    for (const wire of wires) wire.close();
    for (const one of started.reverse()) await one.stop();
  },
  hub: async ({ start }, use) => {
    await use(await start.hub());
  },
});

test.beforeAll(() => needs(CHROMIUM));

/** Open a page of the dashboard and wait until its data is live. */
export async function open(page: Page, hub: Hub, path = ""): Promise<void> {
  await page.goto(new URL(path, hub.url).href);
}

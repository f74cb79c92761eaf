/** Debian's Firefox and WebKit, each through its own remote protocol, without a driver of another vendor. */
import { globSync } from "node:fs";
import puppeteer from "puppeteer-core";
import { FIREFOX, needs, WEBKIT_DRIVER, XVFB } from "./executables.ts";
import { freePort, Process } from "./processes.ts";

/** A browser with one page. */
export interface RemoteBrowser {
  open(url: string): Promise<void>;
  /** The value of an expression in the page. */
  evaluate<T>(expression: string): Promise<T>;
  /** Click as a person does: browsers go back only to pages on which something was clicked. */
  click(selector: string): Promise<void>;
  back(): Promise<void>;
  close(): Promise<void>;
}

/** Start Firefox, and speak WebDriver BiDi with it. */
export async function firefox(): Promise<RemoteBrowser> {
  needs(FIREFOX);
  const browser = await puppeteer.launch({ browser: "firefox", executablePath: FIREFOX, timeout: 120_000 });
  const page = await browser.newPage();
  return {
    open: async (url) => void (await page.goto(url)),
    evaluate: async <T>(expression: string) => (await page.evaluate(expression)) as T,
    click: async (selector) => await page.click(selector),
    back: async () => void (await page.goBack()),
    close: async () => await browser.close(),
  };
}

/** Start WebKit's small browser on a display of its own, and speak plain WebDriver with it. */
export async function webkit(): Promise<RemoteBrowser> {
  needs(WEBKIT_DRIVER, XVFB);
  const [binary] = globSync("/usr/lib/*/webkit2gtk-4.*/MiniBrowser");
  const display = new Process("sh", ["-c", `exec ${XVFB} -displayfd 1 -screen 0 1440x900x24 -nolisten tcp`]);
  const [, number = ""] = await display.printed(/^(\d+)$/m);
  const port = await freePort();
  const env = { DISPLAY: `:${number}`, GDK_BACKEND: "x11", WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: "1" };
  const driver = new Process(WEBKIT_DRIVER, ["--host=127.0.0.1", `--port=${port}`], { env });

  async function command<T>(method: "POST" | "DELETE", path: string, parameters?: object): Promise<T> {
    const body = parameters === undefined ? {} : { body: JSON.stringify(parameters) };
    const answer = await fetch(`http://127.0.0.1:${port}/session${path}`, { method, ...body });
    const { value } = (await answer.json()) as { value: T & { error?: string; message?: string } };
    if (!answer.ok) throw new Error(`${value.error}: ${value.message}`);
    return value;
  }

  await listening(port);
  const options = { "webkitgtk:browserOptions": { binary, args: ["--automation"] } };
  const { sessionId } = await command<{ sessionId: string }>("POST", "", { capabilities: { alwaysMatch: options } });
  return {
    open: async (url) => await command("POST", `/${sessionId}/url`, { url }),
    evaluate: async <T>(expression: string) =>
      await command<T>("POST", `/${sessionId}/execute/sync`, { script: `return (${expression})`, args: [] }),
    click: async (selector) => {
      const found = await command<Record<string, string>>("POST", `/${sessionId}/element`, {
        using: "css selector",
        value: selector,
      });
      await command("POST", `/${sessionId}/element/${Object.values(found)[0]}/click`, {});
    },
    back: async () => await command("POST", `/${sessionId}/back`, {}),
    close: async () => {
      await command("DELETE", `/${sessionId}`);
      await driver.stop();
      await display.stop();
    },
  };
}

/** Wait until a server on this machine answers. */
export async function listening(port: number): Promise<void> {
  for (;;) {
    try {
      await fetch(`http://127.0.0.1:${port}/`);
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

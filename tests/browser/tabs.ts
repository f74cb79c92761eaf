/** Chromium with tabs that can really be hidden: Playwright keeps each of its pages visible and focused. */
import puppeteer, { type Browser, type Page } from "puppeteer-core";
import { CHROMIUM } from "./executables.ts";

/** A window of Chromium whose tabs hide each other. */
export class Tabs {
  readonly #browser: Browser;

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  static async launch(): Promise<Tabs> {
    const visible = ["--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding"];
    const options = { executablePath: CHROMIUM, args: ["--no-sandbox"], timeout: 120_000 };
    return new Tabs(
      await puppeteer.launch({ ...options, ignoreDefaultArgs: [...visible, "--disable-background-timer-throttling"] }),
    );
  }

  /** Open a page in a new tab, which hides the others. */
  async open(url: string): Promise<Page> {
    const page = await this.#browser.newPage();
    await page.goto(url);
    return page;
  }

  async close(): Promise<void> {
    await this.#browser.close();
  }
}

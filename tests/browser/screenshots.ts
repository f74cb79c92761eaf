/** Takes the pictures in docs/images: each page at the end of the same night, wide and on a phone, light and dark. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type BrowserContextOptions, type CDPSession, chromium, type Page } from "@playwright/test";
import { CHROMIUM, PYTHON, ROOT } from "./executables.ts";
import { Process } from "./processes.ts";
import { isLive } from "./views.ts";

const FOLDER = join(ROOT, "docs/images");
const QUALITY = 78;
const SIZES = { wide: { width: 1440, height: 900 }, phone: { width: 390, height: 844 } } as const;
const THEMES = ["light", "dark"] as const;
const PAGES = {
  operations: "",
  operation: "operation?id=import-prices-368",
  failed: "operation?id=ci-817",
  running: "operation?id=close-2035-03",
  log: "log?id=copy-backup-611",
  names: "names",
  name: "name?name=Integration%20tests",
  events: "events",
  system: "system",
  wall: "wall",
} as const;
const DEFICIENCIES = ["protanopia", "deuteranopia", "tritanopia"] as const;

async function shown(page: Page, url: string): Promise<void> {
  await page.goto(url);
  await isLive(page);
  await page.waitForLoadState("networkidle");
  await page.evaluate(async () => await document.fonts.ready);
  await page.evaluate(
    async () => await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))),
  );
}

async function save(page: Page, session: CDPSession, name: string): Promise<void> {
  const { width, height } = page.viewportSize() ?? SIZES.wide;
  const clip = { x: 0, y: 0, width, height, scale: 1 };
  const { data } = await session.send("Page.captureScreenshot", { format: "webp", quality: QUALITY, clip });
  writeFileSync(join(FOLDER, `${name}.webp`), Buffer.from(data, "base64"));
}

rmSync(FOLDER, { recursive: true, force: true });
mkdirSync(FOLDER, { recursive: true });
const night = new Process(PYTHON, ["-m", "tests.browser.night"], { cwd: ROOT });
const [, hub = ""] = await night.printed(/^(http\S+)$/m);
const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
const place: BrowserContextOptions = { timezoneId: "Europe/Berlin", locale: "en-GB", reducedMotion: "reduce" };

for (const [size, viewport] of Object.entries(SIZES)) {
  for (const theme of THEMES) {
    const context = await browser.newContext({ ...place, viewport, colorScheme: theme });
    const page = await context.newPage();
    const session = await context.newCDPSession(page);
    for (const [name, path] of Object.entries(PAGES)) {
      await shown(page, new URL(path, hub).href);
      await save(page, session, `${name}-${size}-${theme}`);
    }
    await context.close();
  }
}

const context = await browser.newContext({ ...place, viewport: SIZES.wide });
const page = await context.newPage();
const session = await context.newCDPSession(page);
for (const type of DEFICIENCIES) {
  await session.send("Emulation.setEmulatedVisionDeficiency", { type });
  await shown(page, hub);
  await save(page, session, `operations-${type}`);
}
await session.send("Emulation.setEmulatedVisionDeficiency", { type: "none" });
await page.emulateMedia({ forcedColors: "active" });
await shown(page, hub);
await save(page, session, "operations-forced-colors");

await browser.close();
night.closeInput();
await night.ended;

/** Time to the first paint, and to the first rows, of a browser that has seen nothing before. */
import { chromium } from "@playwright/test";
import { CHROMIUM } from "../../tests/browser/executables.ts";
import { Hub } from "../../tests/browser/processes.ts";

const MAX_PAINT_MS = 1_000;

/** Open the list cold, several times. */
export async function paint(rounds: number): Promise<boolean> {
  const hub = await Hub.start();
  const start = (number: number) => ({
    type: "operation:start",
    data: { operation_id: `job-${number}`, name: `Job ${number % 40}` },
  });
  for (let first = 0; first < 2_000; first += 500) {
    await hub.publish(...Array.from({ length: 500 }, (_, index) => start(first + index)));
  }
  const paints: number[] = [];
  const rows: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
    const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
    await page.addInitScript(() => {
      new MutationObserver((_, observer) => {
        if (document.querySelector("main [role=progressbar]") === null) return;
        performance.mark("rows");
        observer.disconnect();
      }).observe(document, { childList: true, subtree: true });
    });
    await page.goto(hub.url);
    await page.waitForFunction(() => performance.getEntriesByName("rows").length > 0);
    await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length > 0);
    const at = async (name: string) =>
      await page.evaluate((wanted) => performance.getEntriesByName(wanted)[0]?.startTime ?? Number.NaN, name);
    paints.push(await at("first-contentful-paint"));
    rows.push(await at("rows"));
    await browser.close();
  }
  await hub.stop();
  const shown = (values: readonly number[]) => values.map((value) => value.toFixed(0)).join(", ");
  console.log(`first paint: ${shown(paints)} ms; first rows of 2,000: ${shown(rows)} ms`);
  return Math.max(...paints) < MAX_PAINT_MS;
}

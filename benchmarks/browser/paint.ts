/** Time to the first paint, and to the first rows, of a browser that has seen nothing before. */
import { Hub } from "../../tests/browser/processes.ts";
import { Chromium } from "./chromium.ts";

const MAX_PAINT_MS = 1_000;
const NAMES = 40;
const OPERATIONS = 2_000;

const MARK_ROWS = `new MutationObserver((_, observer) => {
  if (document.querySelector("main [role=progressbar]") === null) return;
  performance.mark("rows");
  observer.disconnect();
}).observe(document, { childList: true, subtree: true });`;

/** Open the list cold, several times. */
export async function paint(rounds: number): Promise<boolean> {
  const hub = await Hub.start();
  const start = (number: number) => ({
    type: "operation:start",
    data: { operation_id: `job-${number}`, name: `Job ${number % NAMES}` },
  });
  for (let first = 0; first < OPERATIONS; first += 500) {
    await hub.publish(...Array.from({ length: 500 }, (_, index) => start(first + index)));
  }
  const paints: number[] = [];
  const rows: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const browser = await Chromium.launch();
    const page = await browser.open("about:blank");
    await browser.attached(page, async (session) => {
      await browser.send("Page.enable", {}, session);
      await browser.send("Page.addScriptToEvaluateOnNewDocument", { source: MARK_ROWS }, session);
      await browser.send("Page.navigate", { url: hub.url }, session);
      const at = (name: string) => `performance.getEntriesByName("${name}")[0]?.startTime`;
      for (const [name, times] of [
        ["first-contentful-paint", paints],
        ["rows", rows],
      ] as const) {
        await browser.until(page, `${at(name)} !== undefined`);
        times.push(await browser.evaluate<number>(page, at(name)));
      }
    });
    await browser.close();
  }
  await hub.stop();
  const list = (values: readonly number[]) => values.map((value) => value.toFixed(0)).join(", ");
  console.log(`first paint: ${list(paints)} ms; first rows of ${OPERATIONS}: ${list(rows)} ms`);
  return Math.max(...paints) < MAX_PAINT_MS;
}

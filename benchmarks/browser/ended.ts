/** The traffic of pages that show operations which have ended. */
import { setTimeout as pause } from "node:timers/promises";
import { Hub } from "../../tests/browser/processes.ts";
import { Chromium } from "./chromium.ts";

const SETTLE_MS = 10_000;

interface Frame {
  readonly response: { readonly payloadData: string };
}

/** Count what the pages receive and ask, each in a time in seconds. */
export async function ended(seconds: number): Promise<boolean> {
  const hub = await Hub.start();
  await hub.publish(
    { type: "operation:start", data: { operation_id: "ended", name: "Ended" } },
    { type: "operation:complete", data: { operation_id: "ended" } },
  );
  let isGood = true;
  for (const path of [
    "operation?id=ended",
    "log?id=ended",
    "",
    "events?channel=operations&key=ended",
    "names",
    "wall",
  ]) {
    const browser = await Chromium.launch();
    try {
      const page = await browser.open(new URL(path, hub.url).href);
      await browser.until(page, "document.querySelector('main h1, main h2') !== null");
      await pause(SETTLE_MS);
      isGood = (await isSilent(browser, page, path || "list", seconds)) && isGood;
    } finally {
      await browser.close();
    }
  }
  await hub.stop();
  return isGood;
}

async function isSilent(browser: Chromium, page: string, title: string, seconds: number): Promise<boolean> {
  return await browser.attached(page, async (session) => {
    const frames = browser.collect<Frame>("Network.webSocketFrameReceived", session);
    const requests = browser.collect<unknown>("Network.requestWillBeSent", session);
    await browser.send("Network.enable", {}, session);
    await pause(seconds * 1000);
    const types = new Map<string, number>();
    for (const { response } of frames.stop()) {
      for (const [, type = ""] of response.payloadData.matchAll(/^\{"type":"([^"]+)"/gm)) {
        types.set(type, (types.get(type) ?? 0) + 1);
      }
    }
    const asked = requests.stop().length;
    const received = [...types].map(([type, count]) => `${count} ${type}`).join(", ");
    console.log(`${title}, within ${seconds} s: ${asked} requests; received: ${received || "nothing"}`);
    return asked === 0 && [...types.keys()].every((type) => type.startsWith("connection:"));
  });
}

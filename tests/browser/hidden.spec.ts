/** Tabs that nobody looks at: what they cost the hub, and what they show when they are looked at again. */
import type { Page } from "puppeteer-core";
import { expect, test } from "./fixtures.ts";
import type { Hub } from "./processes.ts";
import { Tabs } from "./tabs.ts";

/** Milliseconds between two looks at a hidden tab, which draws no frames. */
const POLLING = 500;

/** The messages that a tab receives over WebSockets from now on, as the browser's own tools list them. */
async function messagesTo(tab: Page): Promise<string[]> {
  const received: string[] = [];
  const tools = await tab.createCDPSession();
  tools.on("Network.webSocketFrameReceived", ({ response }) => received.push(response.payloadData));
  await tools.send("Network.enable");
  return received;
}

/** Number of connections that read anything, by the hub's own account. */
async function readers(hub: Hub): Promise<number> {
  const { clients } = (await (await fetch(new URL("v1/system", hub.url))).json()) as {
    clients: readonly { state: string }[];
  };
  return clients.filter(({ state }) => state !== "idle").length;
}

test("a hidden tab goes on, and shows the present when it is looked at again", async ({ hub, start }) => {
  const tabs = await Tabs.launch();
  try {
    const job = await start.job(hub, "Import prices");
    const tab = await tabs.open(hub.url);
    await tab.waitForSelector("[role=progressbar]");
    const other = await tabs.open("about:blank");
    const polling = POLLING;
    await tab.waitForFunction(() => document.visibilityState === "hidden", { polling });
    job.progress(40);
    job.fail("HealthCheck", "web-2 answered 503");
    await tab.waitForFunction(() => document.title.startsWith("1 needs attention"), { polling });
    await other.close();
    await tab.bringToFront();
    await tab.waitForFunction(() => document.body.textContent.includes("HealthCheck: web-2 answered 503"));
    await tab.waitForSelector("[data-state=live]");
  } finally {
    await tabs.close();
  }
});

/** Whether a tab shows a percentage: as a bar of the list, or as the newest of the events. */
function isShown(percent: number): boolean {
  const bars = [...document.querySelectorAll("main [role=progressbar]")].map((bar) =>
    bar.getAttribute("aria-valuenow"),
  );
  const events = [...document.querySelectorAll("main .e-m")].map((said) => said.textContent ?? "");
  return bars.includes(String(percent)) || events.some((said) => said.startsWith(`${percent}%`));
}

test("the hub writes no progress to hidden tabs, which have it all when they are looked at", async ({ hub, start }) => {
  test.setTimeout(240_000); // a hidden tab asks once a minute, so the tabs wait for it together
  const tabs = await Tabs.launch();
  try {
    const job = await start.job(hub, "Import prices");
    const other = await start.job(hub, "Deploy web");
    const hidden: { tab: Page; received: string[] }[] = [];
    const ofOperations = () =>
      hidden.map(({ received }) => received.filter((message) => message.includes('"channel":"operations"')).length);
    for (const [index, path] of ["", "events"].entries()) {
      const tab = await tabs.open("about:blank");
      hidden.push({ tab, received: await messagesTo(tab) });
      await tab.goto(new URL(path, hub.url).href);
      await tab.waitForSelector(".link[data-state=live]");
      job.progress(index + 1);
      await tab.waitForFunction(isShown, {}, index + 1);
    }
    expect(ofOperations()).not.toContain(0);
    await tabs.open("about:blank");
    await expect.poll(() => readers(hub)).toBe(0);
    for (const { received } of hidden) received.length = 0;
    for (let percent = 3; percent <= 70; percent += 1) job.progress(percent);
    other.fail("HealthCheck", "web-2 answered 503");
    for (const { tab } of hidden) {
      // On a busy machine, the other job has made no progress for a minute by then.
      const isNoticed = () => /^\d needs? attention/.test(document.title);
      await tab.waitForFunction(isNoticed, { polling: POLLING, timeout: 110_000 });
    }
    expect(ofOperations()).toEqual([0, 0]);
    for (const { tab } of hidden) {
      await tab.bringToFront();
      await tab.waitForFunction(isShown, {}, 70);
    }
  } finally {
    await tabs.close();
  }
});

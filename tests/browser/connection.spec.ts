import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BrowserContext, Page, Route } from "@playwright/test";
import { PYTHON, ROOT } from "./executables.ts";
import { AWAY, test as base, expect } from "./fixtures.ts";
import { freePort, Process } from "./processes.ts";
import { Tabs } from "./tabs.ts";
import { hasProgress, isLive, isStale, open, row, someOperations, TRACE_ID } from "./views.ts";
import type { Wire } from "./wire.ts";

/** Tests that lose a network, and those that look at tabs which hide each other. */
const test = base.extend<{ wire: Wire; tabs: Tabs }>({
  wire: async ({ faults, hub, start }, use) => {
    faults.expect(AWAY);
    await use(await start.wire(hub));
  },
  // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the names of fixtures from this pattern
  tabs: async ({}, use) => {
    const tabs = await Tabs.launch();
    await use(tabs);
    await tabs.close();
  },
});

/** Let requests of a page wait; the returned function fails those that wait, as a lost network does. */
async function delay(page: Page, pattern: string): Promise<() => Promise<void>> {
  const waiting: Route[] = [];
  let delays = true;
  await page.route(pattern, (route) => (delays ? void waiting.push(route) : route.continue()));
  return async () => {
    delays = false;
    for (const route of waiting) await route.abort("internetdisconnected");
  };
}

/** Take a device its network: it says so itself, and what was connected falls silent. */
async function loseNetwork(context: BrowserContext, wire: Wire): Promise<void> {
  wire.silence();
  await context.setOffline(true);
}

async function regainNetwork(context: BrowserContext, wire: Wire): Promise<void> {
  wire.restore();
  await context.setOffline(false);
}

test("a killed hub makes the page stale, and a new one on its data makes it live again", async ({
  page,
  faults,
  start,
  folder,
}) => {
  faults.expect(AWAY);
  const [port, data] = [await freePort(), join(folder, "log")];
  const first = await start.hub({ port, data });
  const job = await start.job(first, "Import prices");
  await open(page, first);
  job.progress(40);
  await hasProgress(row(page, "Import prices"), 40);
  first.signal("SIGKILL");
  await isStale(page);
  await expect(row(page, "Import prices")).toBeVisible();
  await start.hub({ port, data });
  await isLive(page);
  job.progress(80);
  await hasProgress(row(page, "Import prices"), 80);
});

for (const path of ["", "operation?id=a", "log?id=a", "names", "name?name=a", "events", "trace?id=a", "system"]) {
  test(`a hub that opens its log says so, once, and the page comes back by itself: /${path}`, async ({
    page,
    faults,
    start,
    folder,
  }) => {
    faults.expect(/status of (404|503)/);
    const [port, gate] = [await freePort(), join(folder, "gate")];
    const options = ["serve", "--port", String(port), "--data", join(folder, "log")];
    const hub = start.process(
      new Process(PYTHON, ["-m", "tests.cli.serve.slow_tidings", ...options], { cwd: ROOT, env: { GATE: gate } }),
    );
    await hub.printed(/opening the log/);
    const refused = page.waitForResponse((answer) => answer.url().includes("/v1/") && answer.status() === 503);
    await page.goto(`http://127.0.0.1:${port}/${path}`);
    await expect(page.getByText("The hub is opening its log: 312,000 of 500,000 rows read.").first()).toBeVisible();
    await refused;
    await expect(page.getByRole("alert")).toHaveCount(0);
    writeFileSync(gate, "");
    await isLive(page);
    await expect(page.getByText("opening its log")).toHaveCount(0);
    await expect(page.getByRole("status", { name: /^(Waiting|Loading|Reading)/ })).toHaveCount(0);
    if (path === "events") await expect(page.getByRole("row", { name: /system:status/ }).first()).toBeVisible();
  });
}

for (const [path, read] of [
  ["log?id=import-1", "**/v1/events?*"],
  [`trace?id=${TRACE_ID}`, "**/v1/events?*"],
  ["name?name=Import%20prices", "**/v1/operations?*"],
] as const) {
  test(`what a lost network kept a page from reading is read when the link is back: /${path}`, async ({
    page,
    hub,
    wire,
  }) => {
    await hub.publish(...someOperations());
    await page.route(read, (route) => route.abort("internetdisconnected"));
    await page.goto(new URL(path, wire.url).href);
    await expect(page.getByRole("alert")).toContainText("Cannot show");
    await page.unroute(read);
    wire.cut();
    await isStale(page);
    wire.restore();
    await isLive(page);
    await expect(page.getByRole("alert")).toHaveCount(0);
    await expect(page.locator("main")).toContainText(/level error|40|Import prices/);
  });
}

test("a restart of the hub is survived, also where the log was in memory", async ({ page, faults, start }) => {
  faults.expect(AWAY);
  const port = await freePort();
  const first = await start.hub({ port });
  await first.publish({ type: "operation:start", data: { operation_id: "a", name: "Import prices" } });
  await open(page, first);
  await expect(row(page, "Import prices")).toBeVisible();
  first.signal("SIGTERM");
  await first.ended;
  const second = await start.hub({ port });
  await second.publish({ type: "operation:start", data: { operation_id: "b", name: "Deploy web" } });
  await isLive(page);
  await expect(row(page, "Deploy web")).toBeVisible();
  await expect(row(page, "Import prices")).toHaveCount(0); // the hub no longer has it
});

test("a stopped hub is noticed without any error of the network", async ({ page, hub, start }) => {
  const job = await start.job(hub, "Import prices");
  await open(page, hub);
  hub.signal("SIGSTOP");
  await isStale(page);
  await expect(page.locator("main")).toBeVisible();
  hub.signal("SIGCONT");
  await isLive(page);
  job.progress(40);
  await hasProgress(row(page, "Import prices"), 40);
});

for (const late of ["nothing", "v1/operations?*"]) {
  test(`offline is stale, and online is live without a reload, while ${late} is late`, async ({
    context,
    page,
    hub,
    start,
    wire,
  }) => {
    const job = await start.job(hub, "Import prices");
    const fail = await delay(page, `**/${late}`);
    await open(page, wire);
    await loseNetwork(context, wire);
    await fail();
    await isStale(page);
    job.progress(40);
    await regainNetwork(context, wire);
    await isLive(page);
    await hasProgress(row(page, "Import prices"), 40);
  });
}

test("the link says how long ago the hub was heard, also before that is too long", async ({ page, wire }) => {
  await open(page, wire);
  const link = page.locator(".link");
  const heard = link.locator(".heard");
  await expect(heard).toHaveAttribute("data-heard", /^heard (just now|\d s ago)$/);
  expect(await heard.evaluate((drawn) => getComputedStyle(drawn, "::after").content)).toMatch(/^"heard /);
  await expect(link).toHaveAccessibleName("Link to the hub: live");
  wire.silence();
  await expect(heard).toHaveAttribute("data-heard", /^heard [2-9] s ago$/);
  await isStale(page);
});

test("a cut connection is resumed, and what happened in between is there", async ({ page, hub, start, wire }) => {
  const job = await start.job(hub, "Import prices");
  await page.addInitScript(() => {
    const labels: string[] = [];
    Object.assign(globalThis, { labels });
    const note = () => labels.push(document.querySelector(".link")?.getAttribute("aria-label") ?? "");
    new MutationObserver(note).observe(document, { attributeFilter: ["aria-label"], subtree: true });
  });
  await open(page, wire, `log?id=${job.id}`);
  job.log("before the cut");
  await expect(page.locator("main")).toContainText("before the cut");
  wire.cut();
  await isStale(page);
  job.log("during the cut");
  wire.restore();
  await isLive(page);
  job.log("after the cut");
  await expect(page.locator("main")).toContainText("after the cut");
  await expect(page.locator("main")).toContainText("during the cut");
  expect(await page.getByText("before the cut", { exact: true }).count()).toBe(1);
  const labels = await page.evaluate(() => (globalThis as unknown as { labels: string[] }).labels);
  expect(labels.join("\n")).toMatch(/catching up reading what was missed since \d\d:\d\d:\d\d/);
});

test("where no WebSocket gets through, events come as a stream, until one does", async ({ page, hub, start, wire }) => {
  wire.blocksUpgrades = true;
  const job = await start.job(hub, "Import prices");
  await open(page, wire, `log?id=${job.id}`);
  await page.locator(".link").click();
  const note = page.getByText("WebSocket does not get through here");
  await expect(note).toBeVisible();
  job.log("over the stream");
  await expect(page.locator("main")).toContainText("over the stream");
  wire.blocksUpgrades = false;
  await expect(note).toHaveCount(0);
  job.log("over the WebSocket");
  await expect(page.locator("main")).toContainText("over the WebSocket");
  for (const line of ["over the stream", "over the WebSocket"]) {
    expect(await page.locator("main").getByText(line, { exact: true }).count()).toBe(1);
  }
});

test("a device that is offline is stale at once, also where events come as a stream", async ({
  context,
  page,
  wire,
}) => {
  wire.blocksUpgrades = true;
  await open(page, wire);
  await loseNetwork(context, wire);
  await isStale(page);
  await page.locator(".link").click();
  await expect(page.getByRole("dialog", { name: "The link to the hub" })).toContainText(/offline/);
  await regainNetwork(context, wire);
  await isLive(page);
});

test("eight tabs are live one after another where a browser has six connections for all", async ({
  hub,
  start,
  wire,
  tabs,
}) => {
  wire.blocksUpgrades = true;
  const job = await start.job(hub, "Import prices");
  const opened = [];
  for (let count = 0; count < 8; count += 1) {
    const tab = await tabs.open(wire.url);
    await tab.waitForSelector(".link[data-state=live]");
    opened.push(tab);
  }
  job.progress(40);
  for (const tab of [opened[0], opened[7]]) {
    await tab?.bringToFront();
    await tab?.waitForSelector(".link[data-state=live]");
    await tab?.waitForSelector("[role=progressbar][aria-valuenow='40']");
  }
});

test("a page from the back-forward cache has its rows at once, and is live again", async ({ hub, start, tabs }) => {
  const job = await start.job(hub, "Import prices");
  const tab = await tabs.open(hub.url);
  await tab.waitForSelector("[role=progressbar]");
  await tab.evaluate(() => {
    addEventListener("pageshow", ({ persisted }) => {
      document.documentElement.dataset["persisted"] = String(persisted);
    });
  });
  await tab.goto(new URL("v1/contract.json", hub.url).href);
  job.progress(70);
  await tab.goBack();
  await tab.waitForSelector("html[data-persisted=true]");
  await tab.waitForSelector(".link[data-state=live]");
  await tab.waitForSelector("[role=progressbar][aria-valuenow='70']");
});

for (const late of ["nothing", "v1/whoami", "v1/operations?*"]) {
  test(`an upgraded hub offers a reload, which brings its pages, while ${late} is late`, async ({
    page,
    faults,
    start,
    folder,
  }) => {
    faults.expect(AWAY);
    const port = await freePort();
    const first = await start.hub({ port });
    const fail = await delay(page, `**/${late}`);
    await open(page, first);
    first.signal("SIGTERM");
    await first.ended;
    await fail();
    const sources = join(folder, "upgraded");
    cpSync(join(ROOT, "src"), sources, { recursive: true });
    writeFileSync(join(sources, "tidings/server/dashboard/static/upgraded.txt"), "of the next version");
    await start.hub({ port, env: { PYTHONPATH: sources } });
    const banner = page.getByText("The hub was upgraded.");
    await expect(banner).toBeVisible();
    // It stays when the outcome is known: the new hub does not have the log of the old one.
    await page.locator(".link").click();
    const link = page.getByRole("dialog", { name: "The link to the hub" });
    await expect(link).toContainText("Back;");
    await page.keyboard.press("Escape");
    await expect(link).toHaveCount(0);
    await page.getByRole("button", { name: "Reload" }).click();
    await isLive(page);
    await expect(banner).toHaveCount(0);
  });
}

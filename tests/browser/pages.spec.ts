import { AWAY, expect, test } from "./fixtures.ts";
import { isLive, isStale, open, PAGES, row, someOperations } from "./views.ts";

/** The file with all pages but the list. */
const PAGES_FILE = "**/assets/rest-*.js";

test("every page opens by its address, and loads nothing from another server", async ({ page, hub }) => {
  const foreign: string[] = [];
  page.on("request", (request) => {
    if (!request.url().startsWith(hub.url)) foreign.push(request.url());
  });
  await hub.publish(...someOperations());
  for (const path of PAGES) {
    await open(page, hub, path);
    await expect(page.locator("main")).not.toBeEmpty();
    await expect(page).toHaveTitle(/tidings/);
  }
  expect(foreign).toEqual([]);
});

test("an id that is gone is explained", async ({ page, faults, hub }) => {
  faults.expect(/status of 404 .*operation_id=gone/);
  await open(page, hub, "operation?id=gone");
  await expect(page.locator("main")).toContainText("gone");
  await expect(page.locator("main")).toContainText(/retention|keeps|no longer/i);
  await expect(page.locator("main")).not.toContainText(/`|v1/);
});

test("an address that has lost its id does not blame the hub", async ({ page, hub }) => {
  for (const path of ["operation", "log?id="]) {
    await open(page, hub, path);
    await expect(page.locator("main")).toContainText("names no operation");
    await expect(page.locator("main")).not.toContainText("The hub keeps");
  }
});

test("the system page never shows 'no producer attached' while a job is attached", async ({ page, hub, start }) => {
  await start.job(hub, "Import prices");
  await page.addInitScript(() => {
    const seen = new Set<string>();
    Object.assign(globalThis, { seen });
    new MutationObserver(() => {
      const section = document.querySelector("section[aria-label=Producers]");
      if (section?.textContent) seen.add(section.textContent);
    }).observe(document, { childList: true, characterData: true, subtree: true });
  });
  await open(page, hub, "system");
  await expect(page.getByRole("region", { name: "Producers" })).toContainText("1 attached, 0 away");
  const seen = await page.evaluate(() => [...(globalThis as unknown as { readonly seen: Set<string> }).seen]);
  expect(seen.filter((text) => text.includes("none is attached"))).toEqual([]);
});

test("the pages are loaded once the list is live: they open also when the network is lost", async ({
  page,
  faults,
  hub,
  start,
}) => {
  faults.expect(AWAY);
  await hub.publish(...someOperations());
  const wire = await start.wire(hub);
  const loaded = page.waitForResponse(PAGES_FILE);
  await open(page, wire);
  await (await loaded).finished();
  wire.cut();
  await isStale(page);
  await row(page, "Deploy web").getByRole("link", { name: "Deploy web" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Deploy web" })).toBeVisible();
  await expect(page.locator("main .sentence")).toContainText("Failed");
  await expect(page.getByRole("region", { name: "Error" })).toContainText("What to do:");
  await expect(page.locator("main")).toContainText("runs and log are read when the link is back.");
  await page.getByRole("link", { name: "System" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "System" })).toBeVisible();
  await page.goBack();
  wire.restore();
  await isLive(page);
  await expect(page.getByRole("alert")).toHaveCount(0);
  await expect(page.getByRole("heading", { name: "Log", exact: true })).toBeVisible();
});

test("pages that did not load are there when the link is back, without a reload", async ({
  page,
  faults,
  hub,
  start,
}) => {
  faults.expect(AWAY);
  faults.expect(/rest-/);
  const wire = await start.wire(hub);
  await page.route(PAGES_FILE, (route) => route.abort("internetdisconnected"));
  await page.goto(new URL("system", wire.url).href);
  await expect(page.getByRole("alert")).toContainText("Cannot show the system.");
  await page.getByRole("link", { name: "Operations" }).click();
  await expect(page.getByRole("alert")).toHaveCount(0);
  await page.goBack();
  await page.unroute(PAGES_FILE);
  wire.cut();
  await isStale(page);
  wire.restore();
  await isLive(page);
  await expect(page.getByRole("heading", { level: 1, name: "Healthy" })).toBeVisible();
  await expect(page.getByRole("alert")).toHaveCount(0);
});

test("pages that an upgraded hub no longer has are those of the new one after a reload", async ({
  page,
  faults,
  hub,
}) => {
  faults.expect(/status of 404 .*rest-|dynamically imported module/);
  let visits = 0;
  page.on("request", (request) => {
    if (request.isNavigationRequest()) visits += 1;
  });
  await page.route(PAGES_FILE, (route) => (visits < 2 ? route.fulfill({ status: 404 }) : route.continue()));
  await open(page, hub, "names");
  const problem = page.getByRole("alert");
  await expect(problem).toContainText("the hub was upgraded");
  await problem.getByRole("button", { name: "Try again" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Names" })).toBeAttached();
  await expect(problem).toHaveCount(0);
});

import { expect, test } from "./fixtures.ts";
import { open, PAGES, someOperations } from "./views.ts";

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
  faults.expect(/status of 404 .*operations.gone/);
  await open(page, hub, "operation?id=gone");
  await expect(page.locator("main")).toContainText("gone");
  await expect(page.locator("main")).toContainText(/retention|keeps|no longer/i);
  await expect(page.locator("main").getByText("GET /v1/operations", { exact: true })).toBeVisible();
  await expect(page.locator("main")).not.toContainText("`");
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

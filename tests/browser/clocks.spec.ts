import { globSync } from "node:fs";
import { AWAY, expect, test } from "./fixtures.ts";
import { Folder } from "./processes.ts";
import { isLive, open, PAGES, row, someOperations } from "./views.ts";

const [FAKETIME] = globSync("/usr/lib/*/faketime/libfaketimeMT.so.1");
const HOUR_AGO = /\b(5\d|6\d) min\b|\b1 h\b|\bin \d+ (min|h)\b|-\d/;

/** The environment of a process whose wall clock is wrong; its steady clocks are right. */
function clock(offset: string): Record<string, string> {
  if (FAKETIME === undefined) {
    if (process.env["CI"]) throw new Error("libfaketime is not installed: apt-get install libfaketime");
    test.skip(true, "libfaketime is not installed: apt-get install libfaketime");
  }
  return { LD_PRELOAD: String(FAKETIME), FAKETIME: offset, FAKETIME_DONT_FAKE_MONOTONIC: "1" };
}

for (const offset of ["+3600", "-3600"]) {
  test(`ages are right beside a hub whose clock is off by ${offset} s`, async ({ page, start }) => {
    const hub = await start.hub({ env: clock(offset) });
    await start.job(hub, "Import prices", { id: "import" }, clock(offset));
    await open(page, hub);
    await expect(row(page, "Import prices")).toContainText(/\d+ s|just now/);
    await expect(row(page, "Import prices")).not.toContainText(HOUR_AGO);
    await row(page, "Import prices").getByRole("link", { name: "Import prices" }).click();
    await isLive(page);
    await expect(page.locator("main")).not.toContainText(/\b(5\d|6\d) min\b|\b1 h\b/);
  });

  test(`ages are right for a job whose clock is off by ${offset} s`, async ({ page, hub, start }) => {
    const job = await start.job(hub, "Import prices", { id: "import" }, clock(offset));
    job.progress(40, "page 4");
    await open(page, hub);
    await expect(row(page, "Import prices")).toContainText("page 4");
    await expect(row(page, "Import prices")).not.toContainText(/-\d|\bin \d/);
    job.complete();
    await expect(row(page, "Import prices")).toContainText("complete");
    await expect(row(page, "Import prices")).not.toContainText(/-\d+ (s|min|h)|\bin \d/);
  });
}

test("ages are right after the hub's clock was set between two runs, in an open page and in a new one", async ({
  page,
  start,
  faults,
}) => {
  faults.expect(AWAY);
  const folder = new Folder();
  try {
    const hub = await start.hub({ data: folder.path, env: clock("-86400") });
    await hub.publish({ type: "operation:start", data: { operation_id: "import", name: "Import prices" } });
    await open(page, hub);
    await expect(row(page, "Import prices")).toContainText(/\d+ s|just now/);
    await hub.stop();
    await start.hub({ data: folder.path, port: hub.port });
    await isLive(page);
    await expect(row(page, "Import prices")).toContainText(/\d+ s|just now|\d min/);
    await expect(row(page, "Import prices")).not.toContainText(/\d (h|d)\b/);
    await page.reload();
    await expect(row(page, "Import prices")).toContainText(/\d+ s|just now|\d min/);
    await expect(row(page, "Import prices")).not.toContainText(/\d (h|d)\b/);
  } finally {
    folder.remove();
  }
});

test("ages are right as soon as the hub's clock is known, and not only with the next tick", async ({ page, start }) => {
  const hub = await start.hub({ env: clock("-3600") });
  await start.job(hub, "Import prices", { id: "import" }, clock("-3600"));
  await page.addInitScript(() => {
    window.setInterval = (() => 0) as unknown as typeof window.setInterval; // time does not tick by itself
  });
  await open(page, hub, "wall");
  const line = page.locator(".wall li").filter({ hasText: "Import prices" });
  await expect(line).toContainText(/for \d+ s/);
  await expect(line).not.toContainText(HOUR_AGO);
});

test.describe("in Asia/Kolkata", () => {
  test.use({ timezoneId: "Asia/Kolkata" });

  test("all pages show times of that zone, and of UTC when it is chosen", async ({ page, hub }) => {
    await hub.publish(...someOperations());
    const minute = (zone: string) =>
      new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: zone, hourCycle: "h23" });
    const now = Date.now();
    const near = (zone: string) => {
      const clock = minute(zone);
      return new RegExp([-2, -1, 0, 1, 2].map((minutes) => clock.format(now + minutes * 60_000)).join("|"));
    };
    await open(page, hub, "log?id=import-1");
    await page.getByRole("button", { name: /^Settings/ }).click();
    await page.getByRole("menuitemcheckbox", { name: /^Times of day/ }).click();
    for (const zone of ["Asia/Kolkata", "UTC"]) {
      if (zone === "UTC") {
        await open(page, hub);
        await page.getByRole("button", { name: /^Settings/ }).click();
        await page.getByRole("menuitemcheckbox", { name: "Times in UTC" }).click();
      }
      for (const path of PAGES) {
        await open(page, hub, path);
        await expect(page.locator("main")).not.toBeEmpty();
        if (!/^(names|wall|system)/.test(path)) await expect(page.locator("main"), path).toContainText(near(zone));
        if (zone === "UTC") await expect(page.locator("main"), path).not.toContainText(near("Asia/Kolkata"));
      }
    }
  });
});

/** The elements that a hub serves, in a page of another origin. */
import { AxeBuilder } from "@axe-core/playwright";
import { expect, test } from "./fixtures.ts";
import { Site } from "./site.ts";

test("a page of another origin shows live operations below a strict policy", async ({ page, start }) => {
  const hub = await start.hub({ options: ["--allow-origin", "*"] });
  await hub.publish(
    { type: "operation:start", data: { operation_id: "e-1", name: "nightly import", steps: ["read", "write"] } },
    {
      type: "operation:progress",
      data: { operation_id: "e-1", progress: 40, current_step: "read", message: "4 files" },
    },
    { type: "operation:start", data: { operation_id: "e-2", name: "report" } },
    {
      type: "operation:failed",
      data: { operation_id: "e-2", code: "DiskFull", message: "no space left", recoverable: true },
    },
    { type: "operation:start", data: { operation_id: "e-3", name: "hourly", queued: true } },
    { type: "operation:start", data: { operation_id: "e-4", name: "export" } },
    { type: "operation:complete", data: { operation_id: "e-4", duration_ms: 125_000 } },
  );
  const html = `<!doctype html><html lang="en"><title>Elements</title>
    <script type="module" src="${hub.url}elements.js"></script><main><h1>Jobs</h1>
    <tidings-operation operation-id="e-1"></tidings-operation><tidings-operations></tidings-operations></main></html>`;
  // Scripts and connections of the hub, and no style at all.
  const policy =
    `default-src 'none'; img-src 'self'; script-src ${hub.url}; ` +
    `connect-src ${hub.url} ${hub.url.replace(/^http/, "ws")}; require-trusted-types-for 'script'`;
  const site = await Site.start({ "/": html }, { "Content-Security-Policy": policy });
  try {
    await page.goto(site.url);
    await expect(page.locator("tidings-operations li")).toHaveCount(4);
    const bar = page.locator("tidings-operation").getByRole("progressbar", { name: "nightly import" });
    await expect(bar).toHaveAttribute("aria-valuenow", "40");
    await hub.publish({ type: "operation:progress", data: { operation_id: "e-1", progress: 75 } });
    await expect(bar).toHaveAttribute("aria-valuenow", "75");
    const width = await bar.evaluate((node) => (node.firstElementChild?.clientWidth ?? 0) / node.clientWidth);
    expect(width).toBeCloseTo(0.75, 1); // the style is there although the policy allows none
    expect((await new AxeBuilder({ page }).analyze()).violations).toEqual([]);
  } finally {
    site.close();
  }
});

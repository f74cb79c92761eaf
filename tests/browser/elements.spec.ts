/** The elements that a hub serves, in pages of other origins. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { AxeBuilder } from "@axe-core/playwright";
import { expect, test } from "./fixtures.ts";

/** A page of another origin, with a policy that allows scripts and connections to the hub, and no style at all. */
async function serve(hub: string, body: string): Promise<{ server: Server; url: string }> {
  const websocket = hub.replace(/^http/, "ws");
  const policy = `default-src 'none'; img-src 'self'; script-src ${hub}; connect-src ${hub} ${websocket}; require-trusted-types-for 'script'`;
  const html = `<!doctype html><html lang="en"><title>Elements</title><meta name="viewport" content="width=device-width">
    <script type="module" src="${hub}elements.js"></script><main><h1>Jobs</h1>${body}</main></html>`;
  const server = createServer((_request, response) => {
    response.writeHead(200, { "Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": policy });
    response.end(html);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` };
}

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
  const { server, url } = await serve(
    hub.url,
    '<tidings-operation operation-id="e-1"></tidings-operation><tidings-operations></tidings-operations>',
  );
  try {
    await page.goto(url);
    await expect(page.locator("tidings-operations li")).toHaveCount(4);
    const bar = page.locator("tidings-operation").getByRole("progressbar", { name: "nightly import" });
    await expect(bar).toHaveAttribute("aria-valuenow", "40");
    await hub.publish({ type: "operation:progress", data: { operation_id: "e-1", progress: 75 } });
    await expect(bar).toHaveAttribute("aria-valuenow", "75");
    const width = await bar.evaluate((node) => (node.firstElementChild?.clientWidth ?? 0) / node.clientWidth);
    expect(width).toBeCloseTo(0.75, 1); // the style is there although the policy allows none
    expect((await new AxeBuilder({ page }).analyze()).violations).toEqual([]);
  } finally {
    server.close();
  }
});

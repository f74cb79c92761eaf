/** The dashboard as its readers see it: pages by address, rows and bars by role, the link by its words. */
import { expect, type Locator, type Page } from "@playwright/test";
import type { Hub, PublishedEvent } from "./processes.ts";

/** The pages, with the query that a page needs. */
export const PAGES = [
  "",
  "operation?id=import-1",
  "log?id=import-1",
  "names",
  "name?name=Import%20prices",
  "events",
  "trace?id=4bf92f3577b34da6a3ce929d0e0e4736",
  "system",
  "wall",
] as const;

/** Open a page of the dashboard, and wait until its link to the hub is live. */
export async function open(page: Page, hub: Pick<Hub, "url">, path = ""): Promise<void> {
  await page.goto(new URL(path, hub.url).href);
  await isLive(page);
}

export async function isLive(page: Page): Promise<void> {
  const wall = page.locator("main header").getByText("live", { exact: true });
  await expect(page.locator(".link[data-state=live]").or(wall)).toBeVisible();
}

export async function isStale(page: Page): Promise<void> {
  await expect(page.locator(".link[data-state=stale]")).toBeVisible();
}

/** The row of an operation in a list, by its name. */
export function row(page: Page, name: string): Locator {
  return page.getByRole("row").filter({ has: page.getByRole("link", { name, exact: true }) });
}

/** Wait until the bar in a part of the page stands at a percentage. */
export async function hasProgress(part: Locator | Page, percent: number): Promise<void> {
  await expect(part.getByRole("progressbar").first()).toHaveAttribute("aria-valuenow", String(percent));
}

export const TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736";

/** Operations in each state, with logs and data, as a hub holds them in the middle of a day. */
export function someOperations(): PublishedEvent[] {
  const operation = (verb: string, id: string, data: object = {}): PublishedEvent => ({
    type: `operation:${verb}`,
    trace_id: TRACE_ID,
    data: { operation_id: id, ...data },
  });
  return [
    operation("start", "import-1", {
      name: "Import prices",
      steps: ["fetch", "parse", "load"],
      total_steps: 3,
      host: "worker-3",
    }),
    operation("progress", "import-1", {
      progress: 40,
      current_step: "parse",
      total_steps: 3,
      message: "row 400 of 1,000",
    }),
    ...["info", "debug", "warning", "error", "critical"].map((level) =>
      operation("log", "import-1", { level, message: `a line of the level ${level}` }),
    ),
    operation("start", "import-1.part", { name: "Import lse", parent_id: "import-1" }),
    operation("complete", "import-1.part", { result: { rows: 1200 } }),
    operation("start", "deploy-1", { name: "Deploy web" }),
    operation("failed", "deploy-1", {
      code: "HealthCheck",
      message: "web-2 answered 503",
      recoverable: true,
      hint: "Look at its log.",
      details: 'Traceback (most recent call last):\n  File "deploy.py", line 7\nHealthCheck',
    }),
    operation("start", "export-1", { name: "Export invoices" }),
    operation("cancelled", "export-1", { reason: "wrong file", cancelled_by: "ops" }),
    operation("start", "docs-1", { name: "Deploy docs", queued: true }),
    operation("start", "crawl-1", { name: "Crawl feeds" }),
    operation("progress", "crawl-1", { progress: 0, indeterminate: true, message: "38,412 pages so far" }),
    ...["import-0a", "import-0b"].flatMap((id) => [
      operation("start", id, { name: "Import prices" }),
      operation("complete", id, { message: "1,204 rows" }),
    ]),
    { type: "data:update", trace_id: TRACE_ID, data: { dataset: "prices", version: 7, records: 1204 } },
  ];
}

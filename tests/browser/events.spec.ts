import type { Page } from "@playwright/test";
import { AWAY, expect, test } from "./fixtures.ts";
import type { Hub } from "./processes.ts";
import { isLive, isStale, open } from "./views.ts";

const update = (records: number, more: object = {}) => ({
  type: "data:update",
  data: { dataset: "prices", records, ...more },
});

/** Publish `count` events whose `records` count from `first`, in one post. */
const publish = (hub: Hub, first: number, count: number) =>
  hub.publish(...Array.from({ length: count }, (_, index) => update(first + index)));

const table = (page: Page) => page.getByRole("table", { name: /^Events/ });

/** The rows of events that exist now, in the order of the page. */
const said = (page: Page) => table(page).locator(".e-m").allInnerTexts();

async function openEvents(page: Page, hub: Hub, query = ""): Promise<void> {
  await open(page, hub, `events${query}`);
  await expect(
    page
      .getByText(/^(This hub has no events|No event matches)/)
      .or(table(page).locator(".e-m"))
      .first(),
  ).toBeVisible();
}

test("events appear as they come, the newest first", async ({ page, hub }) => {
  await openEvents(page, hub, "?type=data:update");
  await publish(hub, 1, 1);
  await publish(hub, 2, 1);
  await expect.poll(() => said(page)).toEqual(["2 records", "1 record"]);
});

test("a page opens with the newest events, reads back to the first, and shows the one of its address", async ({
  page,
  hub,
}) => {
  await publish(hub, 1, 500);
  await open(page, hub, "events?type=data:update");
  const rows = () => table(page).getAttribute("aria-rowcount").then(Number);
  await expect.poll(() => said(page).then((texts) => texts[0])).toBe("500 records");
  expect(await rows()).toBe(202);
  await page.mouse.wheel(0, 100_000);
  await page.getByRole("row").filter({ hasText: "The log has earlier events." }).getByRole("button").click();
  await expect.poll(rows).toBe(501);
  await page.mouse.wheel(0, 100_000);
  await expect.poll(() => said(page).then((texts) => texts.at(-1))).toBe("1 record");
  await table(page).locator("a.name").last().click();
  await expect(page).toHaveURL(/event=/);
  await page.reload();
  const detail = page.getByRole("complementary", { name: "The selected event" });
  await expect(detail).toContainText('"records": 1');
  await publish(hub, 501, 1);
  await expect.poll(() => said(page).then((texts) => texts[0])).toBe("501 records");
});

test("a pause keeps the page still, and going on shows all that came, once", async ({ page, hub }) => {
  await openEvents(page, hub, "?channel=data");
  await publish(hub, 1, 2);
  await expect.poll(() => said(page)).toEqual(["2 records", "1 record"]);
  await page.keyboard.press("Space");
  await expect(page.getByRole("button", { name: "Paused" })).toHaveAttribute("aria-pressed", "true");
  await publish(hub, 3, 12);
  await page.getByRole("button", { name: "12 new events wait, show them" }).click();
  await publish(hub, 15, 1);
  const all = ["1 record", ...Array.from({ length: 14 }, (_, index) => `${index + 2} records`)];
  await expect.poll(() => said(page)).toEqual(all.reverse());
});

test("what comes too fast to be drawn is counted, and can be read", async ({ page, hub }) => {
  await openEvents(page, hub, "?channel=data");
  await publish(hub, 1, 1_000);
  const row = page.getByRole("row").filter({ hasText: "came too fast and were not drawn" }).first();
  const rows = () => table(page).getAttribute("aria-rowcount").then(Number);
  await expect.poll(rows).toBeGreaterThan(50);
  await page.keyboard.press("Space");
  // Posts and ticks decide how many rows name the rest; each is opened.
  for (let count = 0; count < 40 && (await rows()) < 1_001; count++) {
    await page.evaluate(() => scrollTo(0, 0));
    for (let step = 0; step < 60 && !(await row.isVisible()); step++) await page.mouse.wheel(0, 600);
    const before = await rows();
    await row.getByRole("button", { name: "Show them" }).click();
    await expect.poll(rows).not.toBe(before);
  }
  expect(await rows()).toBe(1_001);
});

test("the hub restarts: the page goes on where it was", async ({ page, start, folder, faults }) => {
  faults.expect(/ERR_CONNECTION|WebSocket|Failed to load/);
  const data = `${folder}/log`;
  const first = await start.hub({ data });
  await openEvents(page, first, "?channel=data");
  await publish(first, 1, 1);
  await expect.poll(() => said(page)).toEqual(["1 record"]);
  await first.stop();
  await isStale(page);
  const second = await start.hub({ data, port: first.port });
  await publish(second, 2, 3);
  await isLive(page);
  await expect.poll(() => said(page)).toEqual(["4 records", "3 records", "2 records", "1 record"]);
});

test("an event is shown in full, moved through with the arrows, and closed", async ({ page, hub }) => {
  await openEvents(page, hub, "?channel=data");
  const text = "y".repeat(60_000);
  await hub.publish(update(1), update(2, { metadata: { text } }), update(3));
  await expect.poll(() => said(page)).toHaveLength(3);
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  const detail = page.getByRole("complementary", { name: "The selected event" });
  await expect(detail).toContainText('"records": 3');
  await page.keyboard.press("ArrowDown");
  await expect(detail).toContainText("and 58,000 more characters");
  await detail.getByRole("button", { name: "Show all of it" }).click();
  await expect(detail).toContainText(text);
  await page.keyboard.press("Escape");
  await expect(detail).toHaveCount(0);
});

test("a filter is typed, kept by the address, and taken away", async ({ page, hub }) => {
  await openEvents(page, hub);
  await page.keyboard.press("/");
  await page.keyboard.type("key:prices needle");
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/key=prices&q=needle/);
  await expect(page.getByRole("searchbox")).toBeFocused();
  await hub.publish(update(1), update(2, { url: "https://example.com/needle" }), {
    type: "data:update",
    data: { url: "needle" },
  });
  await expect.poll(() => said(page)).toEqual(["2 records"]);
  await page.getByRole("button", { name: "Remove the filter key: prices" }).click();
  await expect(page).toHaveURL(/events\?q=needle$/);
});

test("a filter that finds something replaces the words of one that found nothing, and the other way round", async ({
  page,
  hub,
}) => {
  await hub.publish(update(1));
  await openEvents(page, hub, "?q=needle");
  const nothing = page.getByText("No event matches.");
  await expect(nothing).toBeVisible();
  await page.getByRole("button", { name: "Show all events" }).click();
  await expect(table(page).getByText("1 record", { exact: true })).toBeVisible();
  await expect(nothing).toHaveCount(0);
  await openEvents(page, hub);
  await page.getByRole("searchbox").fill("needle");
  await page.keyboard.press("Enter");
  await expect(nothing).toBeVisible();
});

test("a trace goes across operations, and follows what still runs", async ({ page, hub }) => {
  const trace_id = "9c1d07e2b5a84f30";
  const operation = (verb: string, operation_id: string, more: object = {}) => ({
    type: `operation:${verb}`,
    trace_id,
    data: { operation_id, ...more },
  });
  await hub.publish(
    operation("start", "root", { name: "Nightly load" }),
    operation("start", "part", { name: "Load trades", parent_id: "root" }),
    operation("log", "part", { message: "3 rows without a currency", level: "warning" }),
  );
  await open(page, hub, `trace?id=${trace_id}`);
  const line = page.getByRole("region", { name: "Time line" });
  await expect(line.getByRole("listitem")).toHaveText([/Nightly load/, /Load trades/]);
  await expect(page.locator("main")).toContainText(/3 events in .*, 2 operations; .*still running/);
  await hub.publish(operation("failed", "part", { code: "boom", message: "it broke", recoverable: false }));
  await hub.publish(operation("complete", "root"));
  await expect(page.locator("main")).toContainText(/5 events in/);
  await expect(page.locator("main")).not.toContainText("still running");
  await expect(line.getByRole("img", { name: /^failed, / })).toBeVisible();
});

test("an address that names no trace shows no events of others", async ({ page, hub }) => {
  await hub.publish({ type: "operation:start", data: { operation_id: "root", name: "Nightly load" } });
  await open(page, hub, "trace");
  await expect(page.getByRole("heading", { name: "The address names no trace" })).toBeVisible();
  await expect(page.locator("main")).not.toContainText("Nightly load");
});

test("an address that says nonsense for a time shows the hub's own answer", async ({ page, faults, hub }) => {
  faults.expect(/status of 422 .*since=toString/); // the hub refuses it as a position
  await open(page, hub, "events?since=toString");
  await expect(page.locator("main")).toContainText("'toString' is not a position");
});

test("a name shows its last runs, and a run under way beside them", async ({ page, hub, start }) => {
  const run = (n: number, verb: string, more: object) => [
    { type: "operation:start", data: { operation_id: `run-${n}`, name: "Import prices" } },
    { type: `operation:${verb}`, data: { operation_id: `run-${n}`, ...more } },
  ];
  await hub.publish(
    ...run(1, "complete", { duration_ms: 60_000 }),
    ...run(2, "complete", { duration_ms: 61_000 }),
    ...run(3, "failed", { code: "boom", message: "it broke", recoverable: false }),
    ...run(4, "failed", { code: "boom", message: "it broke", recoverable: false }),
  );
  await open(page, hub, "names");
  const row = page.getByRole("row").filter({ hasText: "Import prices" });
  await expect(row.getByRole("img")).toHaveAccessibleName("Last 4 runs: 2 failed");
  await expect(row).toContainText("failed twice in a row");
  await start.job(hub, "Import prices");
  await expect(row.getByRole("img")).toHaveAccessibleName("Last 5 runs: 2 failed, 1 not ended");
  await row.getByRole("link").click();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("Import prices");
  await expect(page.getByRole("table", { name: "Runs" }).getByRole("link")).toHaveCount(5);
});

test("a wall shows trouble first, and how old it is when the hub is silent", async ({ page, hub, faults }) => {
  faults.expect(/ERR_|WebSocket|Failed to load/);
  await hub.publish(
    { type: "operation:start", data: { operation_id: "a", name: "Copy backup" } },
    { type: "operation:start", data: { operation_id: "b", name: "Import prices" } },
    { type: "operation:failed", data: { operation_id: "b", code: "boom", message: "it broke", recoverable: false } },
  );
  await page.goto(new URL("wall", hub.url).href);
  await expect(page.locator(".wall .nm")).toHaveText(["Import prices", "Copy backup"]);
  await expect(page.locator(".wall li").first()).toContainText("it broke");
  await expect(page.locator(".wall footer")).toContainText("1 running");
  hub.signal("SIGSTOP");
  await expect(page.getByRole("heading", { level: 1 })).toHaveText(/^Nothing heard for \d+ s$/);
  hub.signal("SIGCONT");
  await expect(page.locator(".wall header")).toContainText("live");
});

test("the next run of a name has its own bar on the wall, not that of the run before", async ({ page, hub }) => {
  const run = (operation_id: string) => ({ operation_id, name: "Import prices" });
  await hub.publish(
    { type: "operation:start", data: run("a") },
    { type: "operation:complete", data: { operation_id: "a" } },
    { type: "operation:start", data: { operation_id: "b", name: "Copy backup" } },
  );
  await page.goto(new URL("wall", hub.url).href);
  const line = page.locator(".wall li").filter({ hasText: "Import prices" });
  await expect(line.getByRole("progressbar")).toHaveAttribute("aria-valuetext", /took|^$|100%/);
  await hub.publish(
    { type: "operation:start", data: run("c") },
    { type: "operation:progress", data: { operation_id: "c", progress: 2 } },
  );
  await expect(line.locator(".pct")).toHaveText("2%");
  await expect(line.getByRole("progressbar")).toHaveAttribute("aria-valuenow", "2");
  await expect(line.locator(".b-running")).toBeVisible();
});

test("the system page shows alerts from their beginning to their end", async ({ page, hub, start, faults }) => {
  faults.expect(AWAY);
  const alert = (state: string, message: string) => ({
    type: "system:alert",
    data: { alert_id: "disk", severity: "warning", state, code: "disk_low", message, recoverable: true },
  });
  await open(page, hub, "system");
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("Healthy");
  await expect(page.locator("main")).toContainText(
    /0 operations are live, \d+ connections? (is|are) open, no alert is raised/,
  );
  await hub.publish(alert("raised", "8 % left"));
  const row = page.getByRole("table", { name: "Alerts" }).getByRole("row").filter({ hasText: "disk_low" });
  await expect(row).toContainText("8 % left");
  await expect(page.locator("main")).toContainText("1 alert is raised");
  await hub.publish(alert("cleared", "40 % left"));
  await expect(row).toContainText("8 % left; cleared: 40 % left");
  await expect(page.locator("main")).toContainText("no alert is raised");
  await expect(page.getByRole("img", { name: /^Connections over the last hour: now \d+ open/ })).toBeVisible();
  await hub.publish(alert("raised", "1 % left"));
  await expect(page.locator("main")).toContainText("1 alert is raised");
  await hub.stop();
  await start.hub({ port: hub.port }); // with another log, in which no alert was raised
  await expect(page.locator("main")).toContainText("no alert is raised");
  await expect(row).toHaveCount(0);
});

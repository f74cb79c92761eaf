import { dirname } from "node:path";
import { TIDINGS } from "./executables.ts";
import { expect, test } from "./fixtures.ts";
import { Process } from "./processes.ts";
import { hasProgress, isLive, open, row, someOperations } from "./views.ts";

test("a bar moves while its job works, and the job's end is shown", async ({ page, hub, start }) => {
  const job = await start.job(hub, "Import prices");
  await open(page, hub);
  const import_ = row(page, "Import prices");
  await expect(import_).toBeVisible();
  for (const percent of [40, 70]) {
    job.progress(percent, `page ${percent}`);
    await hasProgress(import_, percent);
    await expect(import_).toContainText(`page ${percent}`);
  }
  job.complete();
  await expect(import_).toContainText("complete");
  await expect(import_).toContainText("took");
  expect(await job.ended).toBe(0);
});

test("a failure stands on top with its code and message, until it is marked as seen", async ({ page, hub, start }) => {
  const job = await start.job(hub, "Deploy web");
  await open(page, hub);
  await expect(row(page, "Deploy web")).toBeVisible();
  job.fail("HealthCheck", "web-2 answered 503", "Look at its log.");
  const head = page.getByRole("row", { name: /^Needs attention/ });
  await expect(head).toContainText("1 failed since you last looked");
  await expect(row(page, "Deploy web")).toContainText("HealthCheck: web-2 answered 503");
  await expect(page).toHaveTitle(/^1 needs attention/);
  await head.getByRole("button", { name: "Mark as seen" }).click();
  await expect(head).toHaveCount(0);
  await page.reload();
  await expect(row(page, "Deploy web")).toBeVisible();
  await expect(head).toHaveCount(0);
});

test("two tabs show the same", async ({ context, page, hub, start }) => {
  const job = await start.job(hub, "Import prices");
  const second = await context.newPage();
  await open(page, hub);
  await open(second, hub, `operation?id=${job.id}`);
  job.progress(55);
  await hasProgress(row(page, "Import prices"), 55);
  await hasProgress(second, 55);
  job.complete();
  for (const tab of [page, second]) await expect(tab.locator("main")).toContainText("complete");
});

test("back and forward show each page again, live", async ({ page, hub, start }) => {
  const job = await start.job(hub, "Import prices");
  await open(page, hub);
  await row(page, "Import prices").getByRole("link", { name: "Import prices" }).click();
  await expect(page).toHaveURL(/operation\?id=/);
  await expect(page.getByRole("heading", { name: "Import prices" })).toBeVisible();
  await page.getByRole("link", { name: "Names" }).click();
  await expect(page).toHaveURL(/names$/);
  await page.goBack();
  await page.goBack();
  job.progress(30);
  await hasProgress(row(page, "Import prices"), 30);
  await page.goForward();
  job.progress(60);
  await hasProgress(page, 60);
  // A document of another address in between: the page may come from the back-forward cache, without its socket.
  await page.goto(new URL("healthz", hub.url).href);
  await page.goBack();
  await isLive(page);
  job.progress(90);
  await hasProgress(page, 90);
});

test("payloads of 64 KB are shown", async ({ page, hub }) => {
  const long = "A long word. ".repeat(4_900);
  await hub.publish(
    { type: "operation:start", data: { operation_id: "long", name: "Long result", metadata: { text: long } } },
    { type: "operation:complete", data: { operation_id: "long", result: { text: long } } },
    { type: "data:update", data: { dataset: "long", metadata: { text: long } } },
  );
  await open(page, hub, "operation?id=long");
  await expect(page.getByRole("heading", { name: "Long result" })).toBeVisible();
  await open(page, hub, "events");
  await page.getByText("data:update", { exact: true }).first().click();
  await expect(page.locator("main")).toContainText("A long word. A long word.");
  await open(page, hub);
  await expect(row(page, "Long result")).toBeVisible();
});

test("an operation that has ended causes no traffic but heartbeats", async ({ page, hub }) => {
  await hub.publish(
    { type: "operation:start", data: { operation_id: "done", name: "Import prices" } },
    { type: "operation:progress", data: { operation_id: "done", progress: 40 } },
    { type: "operation:complete", data: { operation_id: "done" } },
  );
  const frames: { readonly type: string; readonly text: string }[] = [];
  const requests: string[] = [];
  page.on("websocket", (socket) => {
    socket.on("framereceived", ({ payload }) => {
      for (const line of String(payload).split("\n").filter(Boolean)) {
        frames.push({ type: String((JSON.parse(line) as { type?: unknown }).type), text: line });
      }
    });
  });
  await open(page, hub, "operation?id=done");
  await expect(page.locator("main")).toContainText("complete");
  const pongs = () => frames.filter(({ type }) => type === "connection:pong").length;
  await expect.poll(pongs).toBeGreaterThan(0);
  const before = frames.length;
  page.on("request", (request) => requests.push(request.url()));
  const seen = pongs();
  await expect.poll(pongs).toBeGreaterThan(seen + 2);
  const after = frames.slice(before);
  expect(after.filter(({ text }) => text.includes('"done"'))).toEqual([]);
  expect(after.map(({ type }) => type).filter((type) => !/^(connection:|system:)/.test(type))).toEqual([]);
  expect(requests).toEqual([]);
});

test("each state has its word, and its row its percent", async ({ page, hub }) => {
  await hub.publish(...someOperations());
  await open(page, hub);
  for (const [name, word] of [
    ["Deploy web", "failed"],
    ["Export invoices", "cancelled"],
    ["Deploy docs", "queued"],
    ["Crawl feeds", "running"],
    ["Import lse", "complete"],
  ] as const) {
    await expect(row(page, name).first()).toContainText(word);
  }
  await expect(row(page, "Crawl feeds").getByRole("progressbar")).not.toHaveAttribute("aria-valuenow");
});

test("the keyboard opens a row, comes back to it, and goes to each page", async ({ page, hub }) => {
  await hub.publish(...someOperations());
  await open(page, hub);
  const opened = row(page, "Deploy web").getByRole("link", { name: "Deploy web" });
  await expect(opened).toBeVisible();
  await page.keyboard.press("e");
  await expect(opened).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: "Deploy web" })).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(opened).toBeFocused();
  // `e` alone is a key of the list, too.
  for (const [key, path] of Object.entries({ e: "events", n: "names", s: "system" })) {
    await page.keyboard.press("g");
    await page.keyboard.press(key);
    await expect(page).toHaveURL(new URL(path, hub.url).href);
    await page.keyboard.press("g");
    await page.keyboard.press("o");
    await expect(row(page, "Deploy web")).toBeVisible();
  }
});

test("on a phone a failed row with logged errors keeps its name, its age and its bar apart", async ({ page, hub }) => {
  await page.setViewportSize({ width: 390, height: 844 });
  await hub.publish(
    { type: "operation:start", data: { operation_id: "broken", name: "Deploy web" } },
    { type: "operation:log", data: { operation_id: "broken", level: "error", message: "web-2 answered 503" } },
    {
      type: "operation:failed",
      data: { operation_id: "broken", code: "boom", message: "it broke", recoverable: false },
    },
  );
  await open(page, hub);
  const failed = row(page, "Deploy web");
  await expect(failed.locator(".c-log")).toContainText("1");
  const box = async (cell: string) => {
    const found = await failed.locator(cell).boundingBox();
    if (found === null) throw new Error(`${cell} is not shown`);
    return found;
  };
  const [name, age, bar, text] = [await box(".c-who"), await box(".c-age"), await box(".c-bar"), await box(".c-say")];
  expect(name.width).toBeGreaterThan(150);
  expect(age.x).toBeGreaterThanOrEqual(name.x + name.width);
  expect(bar.width).toBeGreaterThan(250);
  expect(text.x).toBe(name.x);
});

test("groups of names count all their runs, also those that are not loaded", async ({ page, hub }) => {
  const run = (id: string, name: string) => [
    { type: "operation:start", data: { operation_id: id, name } },
    { type: "operation:complete", data: { operation_id: id } },
  ];
  await hub.publish(...Array.from({ length: 240 }, (_, n) => run(`a-${n}`, "Import prices")).flat());
  await hub.publish(...Array.from({ length: 20 }, (_, n) => run(`b-${n}`, "Copy backup")).flat());
  await open(page, hub, "?group=name");
  await expect(page.getByRole("row", { name: /^Copy backup 20$/ })).toBeVisible();
  await expect(page.getByRole("row", { name: /^Import prices 240$/ })).toBeVisible();
});

test("a failure that a thousand newer runs have pushed out of what is loaded is shown", async ({ page, hub }) => {
  const event = (verb: string, id: string, data: object = {}) => ({
    type: `operation:${verb}`,
    data: { operation_id: id, ...data },
  });
  const failure = { code: "Timeout", message: "no answer", recoverable: true };
  await hub.publish(event("start", "old", { name: "Copy backup" }), event("failed", "old", failure));
  for (let first = 0; first < 1_020; first += 340) {
    const ids = Array.from({ length: 340 }, (_, n) => `run-${first + n}`);
    await hub.publish(...ids.flatMap((id) => [event("start", id, { name: "Poll" }), event("complete", id)]));
  }
  await open(page, hub);
  await expect(row(page, "Copy backup")).toContainText("Timeout: no answer");
});

test("the command of a row shows that operation of this hub, whatever its id", async ({
  context,
  page,
  hub,
  start,
}) => {
  const id = "--url=ws://127.0.0.1:9/it's";
  await hub.publish({ type: "operation:start", data: { operation_id: id, name: "Poll" } });
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await open(page, hub);
  await row(page, "Poll").getByRole("link").first().focus();
  await page.keyboard.press("y");
  await expect(page.getByText("Copied", { exact: true })).toBeAttached();
  const command = await page.evaluate(() => navigator.clipboard.readText());
  const env = { PATH: `${dirname(TIDINGS)}:${process.env["PATH"]}` };
  const shell = start.process(new Process("/bin/sh", ["-c", command], { env }));
  await shell.ended;
  expect(shell.output).toContain("Poll");
});

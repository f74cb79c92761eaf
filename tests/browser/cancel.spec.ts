import { TIDINGS } from "./executables.ts";
import { expect, test } from "./fixtures.ts";
import { Process } from "./processes.ts";
import { open } from "./views.ts";

test("cancel ends a real process, and is shown in a second tab and after a reload", async ({
  context,
  page,
  hub,
  start,
  folder,
}) => {
  const env = { TIDINGS_URL: hub.url, XDG_STATE_HOME: folder, TMPDIR: folder };
  const command = ["run", "--id", "copy-1", "--name", "Copy backup", "--", "sh", "-c", "echo working; exec sleep 3600"];
  const run = start.process(new Process(TIDINGS, command, { env, endSignal: "SIGTERM" }));
  await run.printed(/working/);
  const second = await context.newPage();
  await open(page, hub, "operation?id=copy-1");
  await open(second, hub, "operation?id=copy-1");
  await page.getByRole("button", { name: /^Cancel/ }).click();
  const question = page.getByRole("dialog", { name: /Cancel/ });
  await question.getByRole("textbox").fill("wrong disk");
  await question.getByRole("button", { name: "Cancel it" }).click();
  for (const tab of [page, second]) {
    await expect(tab.locator("main")).toContainText("cancelled");
    await expect(tab.locator("main")).toContainText("wrong disk");
  }
  expect(await run.ended).not.toBe(0);
  await page.reload();
  await expect(page.locator("main")).toContainText("wrong disk");
  await expect(page.getByRole("button", { name: /^Cancel/ })).toHaveCount(0);
});

test("a refused request shows the reason, and the job runs on", async ({ page, hub, start }) => {
  const job = await start.job(hub, "Month-end close", { refusing: "books are open" });
  await open(page, hub, `operation?id=${job.id}`);
  await page.getByRole("button", { name: /^Cancel/ }).click();
  await page
    .getByRole("dialog", { name: /Cancel/ })
    .getByRole("button", { name: "Cancel it" })
    .click();
  await expect(page.locator("main")).toContainText("books are open");
  job.complete();
  await expect(page.locator("main")).toContainText("complete");
  expect(await job.ended).toBe(0);
});

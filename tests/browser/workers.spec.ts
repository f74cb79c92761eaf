import { join } from "node:path";
import { expect, test } from "./fixtures.ts";
import { open } from "./views.ts";

test("the system page shows each worker, and which one a client is connected to", async ({
  context,
  page,
  start,
  folder,
}) => {
  const hub = await start.hub({ data: join(folder, "log"), options: ["--workers", "2"] });
  await open(page, hub, "system");
  const workers = page.getByRole("table", { name: "Workers" });
  await expect(workers.getByRole("row", { name: /worker-[12] ?(serves this page)? ready \d+ \d+/ })).toHaveCount(2);
  const list = page.getByRole("table", { name: "Connections" });
  await expect(list.getByRole("columnheader", { name: "Worker" })).toBeVisible();
  await expect(page.getByText("serves this page")).toHaveCount(1);
  // The kernel divides connections: some land at each of the two.
  for (const worker of ["worker-1", "worker-2"]) {
    await expect(async () => {
      const other = await context.newPage();
      await open(other, hub);
      await page.reload();
      await expect(list.getByRole("cell", { name: worker }).first()).toBeVisible({ timeout: 5_000 });
    }).toPass();
  }
});

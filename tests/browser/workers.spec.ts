import { join } from "node:path";
import { ROOT } from "./executables.ts";
import { expect, test } from "./fixtures.ts";
import { freePort, Process } from "./processes.ts";
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

test("the system page of a node lists all nodes", async ({ page, start, folder }) => {
  const port = await freePort();
  const store = ["-a", "127.0.0.1", "-p", String(port), "-js", "-sd", join(folder, "nats")];
  const server = start.process(new Process(`${ROOT}.venv/bin/nats-server`, store));
  await server.printed(/Server is ready/);
  const options = ["--log", `nats://127.0.0.1:${port}/hubs`];
  const first = await start.hub({ data: join(folder, "a"), options });
  const second = await start.hub({ data: join(folder, "b"), options });
  await open(page, first, "system");
  const nodes = page.getByRole("table", { name: "Nodes" });
  await expect(nodes.getByRole("row", { name: /serves this page ready, leads/ })).toHaveCount(1);
  await expect(nodes.getByRole("row", { name: /ready/ })).toHaveCount(2);
  await expect(page.getByText("2 of 2 ready")).toBeVisible();
  await open(page, second, "system");
  await expect(nodes.getByRole("row", { name: /serves this page ready \d/ })).toHaveCount(1);
});

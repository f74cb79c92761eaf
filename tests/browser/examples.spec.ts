/** The pages in `examples/browser`, as people run them: each shows a job as it advances. */
import { readFile } from "node:fs/promises";
import type { Page } from "@playwright/test";
import { build } from "vite";
import { PYTHON, ROOT } from "./executables.ts";
import { expect, test } from "./fixtures.ts";
import { type Hub, type HubOptions, Process } from "./processes.ts";
import { Site } from "./site.ts";

const EXAMPLES = `${ROOT}examples/browser/`;
/** The hub of the examples. */
const HUB = "http://127.0.0.1:8765/";
const ANY_ORIGIN: HubOptions = { options: ["--allow-origin", "*"] };

/** Prints the HTML that a notebook's cells show, in their order. */
const RUN_NOTEBOOK = `
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=60).execute()
for cell in notebook.cells:
    for output in cell.get("outputs", []):
        print(output.get("data", {}).get("text/html", ""))
`;

async function expectBar(page: Page, hub: Hub, name: string): Promise<void> {
  const id = `job-${name}`;
  await hub.publish({ type: "operation:start", data: { operation_id: id, name } });
  for (const progress of [25, 80]) {
    await hub.publish({ type: "operation:progress", data: { operation_id: id, progress } });
    const bar = page.getByRole("progressbar", { name }).first();
    const value = () => bar.evaluate((node) => node.getAttribute("aria-valuenow") ?? node.getAttribute("value"));
    await expect.poll(value).toBe(String(progress));
  }
}

test("plain.html shows jobs, and the one that ended last", async ({ page, start }) => {
  const hub = await start.hub(ANY_ORIGIN);
  const html = await readFile(`${EXAMPLES}plain.html`, "utf8");
  const site = await Site.start({ "/": html.replaceAll(HUB, hub.url) });
  try {
    await page.goto(site.url);
    await expectBar(page, hub, "nightly");
    await hub.publish({ type: "operation:complete", data: { operation_id: "job-nightly" } });
    await expect(page.locator("#newest")).toHaveText("job-nightly is complete.");
  } finally {
    site.close();
  }
});

test("the React page shows jobs, and cancels one", async ({ page, start }) => {
  const hub = await start.hub(ANY_ORIGIN);
  const built = await build({
    root: `${EXAMPLES}react`,
    configFile: false,
    logLevel: "error",
    define: { "import.meta.env.VITE_HUB": JSON.stringify(hub.url) },
    resolve: {
      alias: [
        { find: /^tidings\/react$/, replacement: `${ROOT}clients/typescript/src/react.ts` },
        { find: /^(react|react-dom)(\/.*)?$/, replacement: `${ROOT}node_modules/$1$2` },
      ],
    },
    build: { write: false },
  });
  if (!("output" in built)) throw new TypeError("expected the output of one build");
  const files = built.output.map((file) => [`/${file.fileName}`, file.type === "chunk" ? file.code : file.source]);
  const texts = Object.fromEntries(files.map(([name, content]) => [name, String(content)]));
  const site = await Site.start({ ...texts, "/": texts["/index.html"] ?? "" });
  try {
    await page.goto(site.url);
    await expectBar(page, hub, "nightly");
    const job = await start.job(hub, "cancellable");
    await page.getByRole("listitem").filter({ hasText: "cancellable" }).getByRole("button", { name: "Cancel" }).click();
    const cancelled = async (): Promise<number> => {
      job.progress(50); // a job stops where it reports
      return page.getByText("cancellable: cancelled").count();
    };
    await expect.poll(cancelled).toBe(1);
    await job.ended;
  } finally {
    site.close();
  }
});

test("the notebook shows its own job", async ({ folder, page, start }) => {
  const hub = await start.hub(ANY_ORIGIN);
  const notebook = start.process(
    new Process(PYTHON, ["-c", RUN_NOTEBOOK, `${EXAMPLES}notebook.ipynb`], {
      env: { TIDINGS_URL: hub.url, TIDINGS_PAGE: hub.url, IPYTHONDIR: folder, TIDINGS_SPOOL: `${folder}/spool` },
    }),
  );
  expect(await notebook.ended, notebook.errors).toBe(0);
  const site = await Site.start({ "/": "<!doctype html><title>Notebook</title><main></main>" });
  try {
    await page.goto(site.url);
    await page.evaluate((html) => {
      const main = document.querySelector("main") as HTMLElement;
      main.innerHTML = html;
      for (const inert of main.querySelectorAll("script")) {
        const script = document.createElement("script"); // as Jupyter does: scripts in markup do not run by themselves
        for (const { name, value } of inert.attributes) script.setAttribute(name, value);
        inert.replaceWith(script);
      }
    }, notebook.output);
    const row = page.locator("tidings-operations li");
    await expect(row).toHaveCount(1);
    await expect(row).toContainText("Import prices");
    await expect(row).toContainText("complete");
  } finally {
    site.close();
  }
});

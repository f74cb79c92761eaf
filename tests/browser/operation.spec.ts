import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type BrowserContext, chromium, type Page } from "@playwright/test";
import { withoutUnused } from "../../dashboard/library-parts.ts";
import { CHROMIUM, ROOT } from "./executables.ts";
import { expect, test } from "./fixtures.ts";
import type { Hub } from "./processes.ts";
import { hasProgress, isStale, open } from "./views.ts";

const start = (id: string, more: object = {}) => ({
  type: "operation:start",
  data: { operation_id: id, name: "Import prices", ...more },
});

const main = (page: Page) => page.locator("main");

/** Let every page of a context gather its notifications instead of showing them. */
async function gatherNotifications(context: BrowserContext): Promise<void> {
  await context.addInitScript(() => {
    const shown: string[] = [];
    class Notes {
      static readonly permission = "granted";
      static requestPermission = () => Promise.resolve("granted");
      onclick: unknown = null;
      constructor(title: string, options?: { body?: string }) {
        shown.push(`${title}: ${options?.body}`);
      }
      close(): void {}
    }
    Object.assign(globalThis, { Notification: Notes, shownNotes: shown });
  });
}

const notes = (page: Page) => page.evaluate(() => (globalThis as unknown as { shownNotes: string[] }).shownNotes);

test("the page says what the command line says, as it happens", async ({ page, hub, start: starts }) => {
  const job = await starts.job(hub, "Import prices", { steps: ["fetch", "parse"] });
  await open(page, hub, `operation?id=${job.id}`);
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("Import prices");
  await expect(main(page)).toContainText("Running: alive, last event");
  job.write(JSON.stringify({ progress: [40, "page 4"] }));
  await hasProgress(main(page), 40);
  job.write(JSON.stringify({ fail: ["NoPrices", "the exchange sent none", "Ask the exchange."] }));
  await expect(main(page)).toContainText(/Failed (just now|\d+ s ago) after \d+ s/);
  const error = page.getByRole("region", { name: "Error" });
  await expect(error).toContainText("NoPrices");
  await expect(error).toContainText("What to do: Ask the exchange.");
  await expect(page).toHaveTitle(/^(.* · )?Failed · Import prices · tidings$/);
  expect(await job.ended).toBe(0);
});

test("a notification comes once over all tabs, also from another page", async ({ context, page, hub }) => {
  await gatherNotifications(context);
  await hub.publish(start("night-1"));
  const second = await context.newPage();
  await open(page, hub, "operation?id=night-1");
  await open(second, hub, "operation?id=night-1");
  await page.getByRole("button", { name: "Notify me when it ends" }).click();
  await expect(second.getByRole("button", { name: "You are notified" })).toBeVisible();
  await page.getByRole("link", { name: "Names" }).click();
  await expect(page.getByRole("heading", { name: "Import prices" })).toHaveCount(0);
  const failure = { operation_id: "night-1", code: "Boom", message: "it broke", recoverable: false };
  await hub.publish({ type: "operation:failed", data: failure });
  await expect(main(second)).toContainText("Failed");
  await expect(async () => {
    expect([...(await notes(page)), ...(await notes(second))]).toEqual(["Import prices: failed: Boom: it broke"]);
  }).toPass();
  await second.reload();
  await open(second, hub, "operation?id=night-1");
  await expect(main(second)).toContainText("Failed");
  expect(await notes(second)).toEqual([]);
});

/** Asks for a notification and changes a setting, and expects the notification when the operation `a` ends. */
async function notifyAndSet(page: Page, hub: Hub): Promise<void> {
  await page.getByRole("button", { name: "Notify me when it ends" }).click();
  await expect(page.getByRole("button", { name: "You are notified" })).toBeVisible();
  await page.getByRole("button", { name: /^Settings/ }).click();
  await page.getByRole("menuitemcheckbox", { name: "Times in UTC" }).click();
  await hub.publish({ type: "operation:complete", data: { operation_id: "a" } });
  await expect(async () => expect(await notes(page)).toHaveLength(1)).toPass();
}

test("a browser that lets no page notify says so when it is asked", async ({ page, hub, start: starts }) => {
  const job = await starts.job(hub, "Import prices");
  await page.addInitScript(() => {
    class Refusing {
      static readonly permission = "default";
      constructor() {
        throw new TypeError("Illegal constructor. Use ServiceWorkerRegistration.showNotification() instead.");
      }
    }
    Object.assign(globalThis, { Notification: Refusing });
  });
  await open(page, hub, `operation?id=${job.id}`);
  await page.getByRole("button", { name: "Notify me when it ends" }).click();
  const button = page.getByTitle("Browsers on this device notify only for apps");
  await expect(button).toBeDisabled();
});

test("all works in a browser that forbids storage", async ({ folder, hub }) => {
  const settings = { profile: { default_content_setting_values: { cookies: 2 } } };
  mkdirSync(join(folder, "Default"));
  writeFileSync(join(folder, "Default/Preferences"), JSON.stringify(settings));
  const browser = await chromium.launchPersistentContext(folder, { executablePath: CHROMIUM, args: ["--no-sandbox"] });
  try {
    const thrown: unknown[] = [];
    browser.on("weberror", (raised) => thrown.push(raised.error()));
    await gatherNotifications(browser);
    await hub.publish(start("a"));
    const page = await browser.newPage();
    await open(page, hub, "wall");
    await expect(page.locator(".wall li")).toContainText("Import prices");
    await expect(page.evaluate(() => localStorage.length)).rejects.toThrow("SecurityError");
    await open(page, hub, "operation?id=a");
    await notifyAndSet(page, hub);
    expect(thrown).toEqual([]);
  } finally {
    await browser.close();
  }
});

test("all works in a browser whose storage is full", async ({ page, context, hub }) => {
  await gatherNotifications(context);
  await hub.publish(start("a"));
  await open(page, hub, "operation?id=a");
  await page.evaluate(() => {
    for (const storage of [localStorage, sessionStorage]) {
      for (let size = 4 << 20; size >= 1; size >>= 1) {
        for (let times = 0; times < 2; times += 1) {
          try {
            storage.setItem(`${size} ${times}`, "x".repeat(size));
          } catch {} // does not fit
        }
      }
    }
  });
  await expect(page.evaluate(() => localStorage.setItem("more", "than fits"))).rejects.toThrow("QuotaExceededError");
  await notifyAndSet(page, hub);
});

test("parts that are complete are collapsed, and the others are live", async ({ page, hub }) => {
  const part = (index: number) => start(`part-${index}`, { name: `Part ${index}`, parent_id: "whole" });
  await hub.publish(start("whole"), ...[1, 2, 3, 4, 5, 6].map(part));
  const done = [1, 2, 3, 4, 5].map((index) => ({
    type: "operation:complete",
    data: { operation_id: `part-${index}` },
  }));
  await hub.publish(...done, start("deep", { name: "Deep", parent_id: "part-6" }));
  await open(page, hub, "operation?id=whole");
  const parts = page.getByRole("region", { name: "Parts" });
  await expect(parts.getByRole("link", { name: "Part 6" })).toBeVisible();
  await expect(parts.getByRole("link", { name: "Deep" })).toBeVisible();
  await expect(parts.getByRole("link", { name: "Part 1" })).toHaveCount(0);
  await parts.getByRole("button", { name: "5 complete parts" }).click();
  await expect(parts.getByRole("link", { name: "Part 1" })).toBeVisible();
  await hub.publish({ type: "operation:progress", data: { operation_id: "part-6", progress: 70 } });
  await hasProgress(parts, 70);
});

test("links are made from templates, and of nothing but addresses of the web", async ({ page, start: starts }) => {
  const hub = await starts.hub({
    options: ["--link", "Search=https://logs.example/?q={name}", "--link", "Host=https://hosts.example/{host}"],
  });
  const metadata = { runbook: "https://wiki.example/import", script: "javascript:alert(1)" };
  await hub.publish({ ...start("op-1", { metadata }), trace_id: "4bf92f3577b34da6a3ce929d0e0e4736" });
  await open(page, hub, "operation?id=op-1");
  await expect(page.getByRole("link", { name: "runbook" })).toHaveAttribute("href", "https://wiki.example/import");
  const ofHub = page.getByRole("link", { name: "Search" });
  await expect(ofHub).toHaveAttribute("href", "https://logs.example/?q=Import%20prices");
  await expect(page.getByRole("link", { name: "Host" })).toHaveCount(0); // its value is not known
  await page.getByRole("button", { name: "Add links" }).click();
  const editor = page.getByRole("dialog", { name: "Links to other systems" });
  await editor.getByRole("textbox").fill("Bad = javascript:{trace_id}");
  await editor.getByRole("button", { name: "Save the links" }).click();
  await expect(editor.getByRole("alert")).toContainText("an address begins with https://");
  await editor.getByRole("textbox").fill("Trace viewer = https://traces.example/{trace_id}");
  await editor.getByRole("button", { name: "Save the links" }).click();
  const link = page.getByRole("link", { name: "Trace viewer" });
  await expect(link).toHaveAttribute("href", "https://traces.example/4bf92f3577b34da6a3ce929d0e0e4736");
  await expect(link).toHaveAttribute("rel", /noopener/);
  await page.reload();
  const all = page.getByRole("definition").filter({ has: ofHub }).getByRole("link");
  await expect(all).toHaveText(["Search", "Trace viewer", "runbook"]);
  await page.getByRole("button", { name: "Change" }).click();
  await expect(editor.getByRole("textbox")).toHaveValue("Trace viewer = https://traces.example/{trace_id}");
});

test("an address with the name leads from an id that is gone to the newest run", async ({ page, faults, hub }) => {
  faults.expect(/status of 404/);
  await hub.publish(start("import-7"));
  await open(page, hub, "operation?id=import-7");
  await expect(page).toHaveURL(/name=Import(\+|%20)prices/);
  const address = page.url().replace("import-7", "import-3");
  await page.goto(address);
  await expect(main(page)).toContainText("The hub has no operation “import-3”");
  await expect(main(page)).toContainText("Did you mean import-7?");
  await main(page)
    .getByRole("link", { name: /Import prices/ })
    .click();
  await expect(page).toHaveURL(/id=import-7/);
  await expect(main(page)).toContainText("Running");
});

test("without the link the page freezes, and cancelling names the reason", async ({ page, faults, hub }) => {
  faults.expect(/Failed to load resource|WebSocket connection|ERR_/);
  await hub.publish(start("op-1"), { type: "operation:progress", data: { operation_id: "op-1", progress: 40 } });
  await open(page, hub, "operation?id=op-1");
  await hasProgress(main(page), 40);
  await hub.stop();
  await isStale(page);
  const cancel = page.getByRole("button", { name: "Cancel", exact: true });
  await expect(cancel).toBeDisabled();
  await expect(cancel).toHaveAttribute("title", /link to the hub/);
  await hasProgress(main(page), 40);
});

test("a further attempt is a further curve and a further lane", async ({ page, hub }) => {
  const progress = (percent: number) => ({
    type: "operation:progress",
    data: { operation_id: "op-1", progress: percent },
  });
  await hub.publish(start("op-1"), progress(10));
  await open(page, hub, "operation?id=op-1");
  await hasProgress(main(page), 10);
  await hub.publish(progress(20), progress(30));
  await hasProgress(main(page), 30);
  const failure = { operation_id: "op-1", code: "Boom", message: "it broke", recoverable: true };
  await hub.publish({ type: "operation:failed", data: failure }, start("op-1"), progress(40));
  await hasProgress(main(page), 40);
  await expect(main(page).getByText("earlier attempts")).toBeVisible();
  await expect(page.getByRole("img", { name: /^1st attempt: failed; Boom/ })).toBeVisible();
  await expect(page.getByRole("img", { name: /^Progress: 40% after/ })).toBeVisible();
});

test("the chart library without its unused functions draws what the whole one does", async ({ page }) => {
  const whole = readFileSync(join(ROOT, "node_modules/uplot/dist/uPlot.esm.js"), "utf8");
  for (const [name, code] of Object.entries({ whole, ours: withoutUnused(whole) })) {
    const content = code.replace(/export \{ uPlot as default \};?/, `globalThis.${name} = uPlot;`);
    await page.addScriptTag({ type: "module", content });
  }
  await page.waitForFunction(() => "whole" in globalThis && "ours" in globalThis);
  // All that the charts of the dashboard use: axes with a grid, a band, dashes, an area, a hole, a cursor; and lines
  // without axes, with more points than pixels, or a single one.
  const [drawn, ours] = await page.evaluate(async () => {
    type Library = new (
      options: object,
      data: unknown,
      place: HTMLElement,
    ) => { setCursor(at: object): void; setData(data: unknown): void; setSize(size: object): void };
    const { whole, ours } = globalThis as unknown as Readonly<Record<"whole" | "ours", Library>>;
    const axis = {
      stroke: "#333",
      font: "11px sans-serif",
      grid: { stroke: "#ccc", width: 1 },
      ticks: { show: false },
    };
    const points = { show: false };
    const size = { width: 600, height: 200 };
    const shared = { ...size, legend: { show: false }, select: { show: false } };
    const progress = {
      ...{ ...shared, padding: [8, 20, 0, 0], cursor: { y: false } },
      scales: { x: { time: false }, y: { range: [0, 100] } },
      axes: [
        {
          ...axis,
          space: 72,
          incrs: [10, 60, 300],
          values: (_: unknown, at: number[]) => at.map((each) => `${each} s`),
        },
        { ...axis, splits: () => [0, 50, 100], values: (_: unknown, at: number[]) => at.map((each) => `${each}%`) },
      ],
      series: [
        {},
        { show: true, width: 0, points },
        { show: true, width: 0, points },
        { stroke: "#888", width: 1.5, dash: [4, 3], points },
        { stroke: "#00f", width: 2, fill: () => "#def", points, spanGaps: false },
      ],
      bands: [{ series: [1, 2], fill: "#eee" }],
    };
    const rows = [
      [0, 60, 120, 180, 240],
      [20, 40, 60, 80, 100],
      [5, 10, 30, 50, 90],
      [10, 20, 50, 70, 95],
      [0, 30, null, 60, 90],
    ];
    const lines = {
      ...{ ...shared, padding: [2, 0, 1, 0], axes: [{ show: false }, { show: false }] },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      scales: { x: { time: false, range: () => [0, 5000] }, y: { range: () => [0, 100] } },
      series: [{}, { stroke: () => "#00f", width: 1.5, fill: () => "#def", points }],
    };
    const many = Array.from({ length: 5000 }, (_, index) => index);
    const dense = [many, many.map((at) => (at % 997 < 20 ? null : 50 + 40 * Math.sin(at / 100) + (at % 7)))];
    const seen: string[] = [];
    for (const library of [whole, ours]) {
      let pictures = "";
      for (const [options, data] of [
        [progress, rows],
        [progress, rows.map((column) => column.slice(0, 1))],
        [lines, dense],
      ] as const) {
        const place = document.body.appendChild(document.createElement("div"));
        const frame = () => new Promise(requestAnimationFrame);
        const look = () => `${place.innerHTML}${place.querySelector("canvas")?.toDataURL()}\n`;
        const chart = new library(options, data, place);
        chart.setCursor({ left: 200, top: 50 });
        await frame();
        pictures += look();
        place.querySelector(".u-over")?.dispatchEvent(new MouseEvent("mousemove", { clientX: 90, clientY: 60 }));
        chart.setSize({ ...size, width: 400 });
        chart.setData(data.map((column) => column.slice(0, -1)));
        await frame();
        pictures += look();
        place.remove();
      }
      seen.push(pictures);
    }
    return seen;
  });
  expect(drawn?.match(/data:image\/png/g)).toHaveLength(6);
  expect(ours === drawn).toBe(true); // the pictures are too long for a message
});

test("operations with the ids . and .. have pages, too", async ({ page, hub, faults }) => {
  faults.expect(/status of 404/);
  for (const [id, name] of [
    [".", "Here"],
    ["..", "One up"],
  ] as const) {
    await hub.publish(
      { type: "operation:start", data: { operation_id: id, name } },
      { type: "operation:progress", data: { operation_id: id, progress: 40 } },
      { type: "operation:log", data: { operation_id: id, message: `a line of ${name}` } },
    );
  }
  await open(page, hub);
  await page.getByRole("link", { name: /^One up/ }).click();
  await expect(page.getByRole("heading", { level: 1, name: "One up" })).toBeVisible();
  await expect(page.locator("main")).toContainText("a line of One up");
  await open(page, hub, "operation?id=.");
  await expect(page.getByRole("heading", { level: 1, name: "Here" })).toBeVisible();
  await hub.publish({ type: "operation:complete", data: { operation_id: "." } });
  await expect(page.locator("main")).toContainText(/Complete/);
  await hub.publish(
    { type: "operation:complete", data: { operation_id: ".." } },
    { type: "operation:start", data: { operation_id: "..", name: "Next one up", queued: true } },
  );
  await open(page, hub, "operation?id=..");
  await page.getByRole("button", { name: /^Cancel/ }).click();
  await page
    .getByRole("dialog", { name: /Cancel/ })
    .getByRole("button", { name: "Cancel it" })
    .click();
  await expect(page.locator("main")).toContainText(/cancelled/i);
});

test("steps beyond those that the hub lists are mentioned", async ({ page, hub }) => {
  const event = (verb: string, data: object = {}) => ({
    type: `operation:${verb}`,
    data: { operation_id: "long", ...data },
  });
  const steps = Array.from({ length: 203 }, (_, n) =>
    event("progress", { progress: n / 3, current_step: `file ${n}` }),
  );
  await hub.publish(event("start", { name: "Copy files" }), ...steps);
  await open(page, hub, "operation?id=long");
  await expect(page.getByRole("list", { name: /^Steps/ }).getByRole("listitem")).toHaveCount(200);
  await expect(page.getByText("The first 200; later ones, such as “file 202”, are not listed.")).toBeVisible();
});

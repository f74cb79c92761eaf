import "./page.ts";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { describeDuration, describeTime } from "../src/elements/text.ts";
import { TidingsElements } from "../src/elements.ts";
import type { Operation } from "../src/operations/operation.ts";
import { startHub, type TestHub } from "./hub.ts";

let server: TestHub;

beforeAll(async () => {
  server = await startHub();
});
afterAll(async () => {
  TidingsElements.connect({ url: server.url }).close();
  await server.stop();
});
beforeEach(() => {
  TidingsElements.connect({ url: server.url });
});
afterEach(() => document.body.replaceChildren());

function add(tag: string, attributes: Record<string, string> = {}): ShadowRoot {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  document.body.append(node);
  return node.shadowRoot as ShadowRoot;
}

const names = (root: ShadowRoot): (string | null)[] =>
  [...root.querySelectorAll(".name")].map((node) => node.textContent);
const note = (root: ShadowRoot): string | null | undefined => root.querySelector(".note")?.textContent;

const start = (operation_id: string, more: object = {}) => ({
  type: "operation:start",
  data: { operation_id, ...more },
});
const progress = (operation_id: string, more: object) => ({
  type: "operation:progress",
  data: { operation_id, ...more },
});

test("a list shows operations with their progress, and keeps the nodes of each", async () => {
  await server.publish(start("l-1", { name: "list-a" }));
  const root = add("tidings-operations", { name: "list-*" });
  await vi.waitFor(() => expect(names(root)).toEqual(["list-a"]));
  const [item] = root.querySelectorAll("li");
  const bar = root.querySelector('[role="progressbar"]');
  expect([bar?.getAttribute("aria-label"), bar?.getAttribute("aria-valuenow")]).toEqual(["list-a", null]);
  await server.publish(
    progress("l-1", { progress: 41.7, current_step: "write", message: "rows" }),
    start("l-2", { name: "list-b" }),
  );
  await vi.waitFor(() => expect(names(root)).toEqual(["list-b", "list-a"]));
  expect(root.querySelectorAll("li")[1]).toBe(item);
  expect(item?.querySelector(".percent")?.textContent).toBe("41%");
  expect(item?.querySelector(".activity")?.textContent).toBe("write – rows");
  expect(item?.querySelector<HTMLElement>(".fill")?.style.width).toBe("41.7%");
  expect(bar?.getAttribute("aria-valuenow")).toBe("41");
  await server.publish({
    type: "operation:failed",
    data: { operation_id: "l-1", code: "DiskFull", message: "no <b>space</b>", recoverable: true },
  });
  await vi.waitFor(() => expect(item?.querySelector(".word")?.textContent).toBe("failed"));
  expect(item?.querySelector(".activity")?.textContent).toBe("DiskFull: no <b>space</b>");
  expect(item?.querySelector("b")).toBeNull();
});

test.each([
  [240, 360, "4 to 6 min left"],
  [50, 360, "50 s to 6 min left"],
  [7_500, 10_800, "2 h 5 min to 3 h left"],
  [240, 250, "4 min left"],
])("a remaining time of %i to %i s reads %s", (remaining_low_s, remaining_high_s, text) => {
  const estimate = { remaining_s: remaining_low_s, remaining_low_s, remaining_high_s } as Operation["estimate"];
  expect(describeTime({ state: "running", estimate } as Operation)).toBe(text);
  expect(describeTime({ state: "complete", duration_s: 38.2 } as Operation)).toBe("took 38 s");
});

test("a list has what its attributes select, and says when that is nothing", async () => {
  await server.publish(start("s-1", { name: "sel" }), start("s-2", { name: "sel", queued: true, parent_id: "s-1" }));
  const root = add("tidings-operations", { name: "sel", state: "queued" });
  await vi.waitFor(() => expect(root.querySelectorAll("li")).toHaveLength(1));
  const host = root.host;
  host.setAttribute("state", "queued running");
  expect(root.querySelectorAll("li")).toHaveLength(2);
  host.setAttribute("limit", "1");
  expect(root.querySelectorAll("li")).toHaveLength(1);
  host.removeAttribute("limit");
  host.setAttribute("parent", "s-1");
  expect(root.querySelectorAll("li")).toHaveLength(1);
  host.setAttribute("name", "none");
  expect([root.querySelectorAll("li").length, note(root)]).toEqual([0, "No operations."]);
});

test("one operation is shown, also one that begins later, and one that the hub does not know", async () => {
  const root = add("tidings-operation", { "operation-id": "one-1" });
  expect(note(root)).toBe("Loading…");
  await vi.waitFor(() => expect(note(root)).toContain("does not know one-1"));
  await server.publish(start("one-1", { name: "single" }));
  await vi.waitFor(() => expect([names(root), note(root)]).toEqual([["single"], ""]));
  root.host.removeAttribute("operation-id");
  expect([names(root), note(root)]).toEqual([[], "Set the attribute operation-id."]);
});

test("elements in the page follow another hub after connect, and their own hub with url", async () => {
  const other = await startHub();
  try {
    await server.publish(start("h-1", { name: "hub-first" }));
    await other.publish(start("h-2", { name: "hub-second" }));
    const root = add("tidings-operations", { name: "hub-*" });
    const own = add("tidings-operations", { name: "hub-*", url: server.url });
    await vi.waitFor(() => expect([names(root), names(own)]).toEqual([["hub-first"], ["hub-first"]]));
    TidingsElements.connect({ url: other.url });
    await vi.waitFor(() => expect([names(root), names(own)]).toEqual([["hub-second"], ["hub-first"]]));
    await other.stop();
    await vi.waitFor(() => expect(root.host.getAttribute("data-link")).toBe("stale"));
    expect(names(root)).toEqual(["hub-second"]);
  } finally {
    await other.stop();
  }
});

test("a limit that is not a number counts as none", async () => {
  await server.publish(...Array.from({ length: 52 }, (_, n) => start(`m-${n}`, { name: `many-${n}` })));
  const root = add("tidings-operations", { name: "many-*", limit: "all" });
  await vi.waitFor(() => expect(names(root)).toHaveLength(50));
  for (const [limit, shown] of [
    ["51", 51],
    ["-1", 50],
    ["", 50],
    ["0", 0],
  ] as const) {
    root.host.setAttribute("limit", limit);
    expect(names(root)).toHaveLength(shown);
  }
});

test("an invalid URL or token leaves the elements with the hub that they have", async () => {
  await server.publish(start("i-1", { name: "invalid-one" }));
  const root = add("tidings-operations", { name: "invalid-*" });
  await vi.waitFor(() => expect(names(root)).toEqual(["invalid-one"]));
  expect(() => TidingsElements.connect({ url: "ftp://127.0.0.1/" })).toThrow("invalid hub URL");
  expect(() => TidingsElements.connect({ url: server.url, token: "two words" })).toThrow("invalid token");
  await server.publish(start("i-2", { name: "invalid-two" }));
  await vi.waitFor(() => expect(names(root)).toEqual(["invalid-two", "invalid-one"]));
});

test("an element whose own URL is invalid says so, and shows what it had as old", async () => {
  await server.publish(start("u-1", { name: "url-one" }));
  const root = add("tidings-operations", { name: "url-*", url: server.url });
  await vi.waitFor(() => expect([names(root), root.host.getAttribute("data-link")]).toEqual([["url-one"], "live"]));
  for (const url of ["http://", "ftp://127.0.0.1/", "http://127.0.0.1:99999/"]) {
    root.host.setAttribute("url", url);
    expect(note(root)).toBe(`invalid hub URL '${url}'. Use the URL of a hub, such as http://127.0.0.1:8765/.`);
    expect(root.host.getAttribute("data-link")).toBe("closed");
  }
  root.host.setAttribute("url", server.url);
  await vi.waitFor(() => expect([note(root), root.host.getAttribute("data-link")]).toEqual(["", "live"]));
});

test("a hub that cannot be reached is named, with what to do", async () => {
  const root = add("tidings-operations", { url: "http://127.0.0.1:9/" });
  await vi.waitFor(() => expect(note(root)).toMatch(/127\.0\.0\.1:9.*Start the hub/));
});

test("a second copy of the module uses the elements and the connection of the first", async () => {
  const defined = customElements.get("tidings-operations");
  vi.resetModules();
  const copy = await import("../src/elements.ts");
  expect(copy.TidingsElements).not.toBe(TidingsElements);
  expect(customElements.get("tidings-operations")).toBe(defined);
  await server.publish(start("c-1", { name: "copied" }));
  const root = add("tidings-operations", { name: "copied" });
  copy.TidingsElements.connect({ url: server.url });
  await vi.waitFor(() => expect(names(root)).toEqual(["copied"]));
});

test.each([
  [0.25, "250 ms"],
  [59.9, "59 s"],
  [125, "2 min"],
  [7_500, "2 h 5 min"],
  [7_200, "2 h"],
  [100_000, "1 d 3 h"],
])("%d seconds are %s", (seconds, text) => {
  expect(describeDuration(seconds)).toBe(text);
});

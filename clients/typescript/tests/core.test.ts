/** The core and the generated contract are small in a bundle, and touch nothing of their surroundings before they are used. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { SUBPROTOCOL } from "../src/generated/contract.ts";
import { PROTOCOL } from "../src/index.ts";
import { bundle, SOURCE } from "./bundle.ts";
import { bundleCore, MAX_CORE_BYTES } from "./core-bundle.ts";
import { startHub } from "./hub.ts";

const run = promisify(execFile);

test("the core is at most 12 KB gzipped, and loads the rest when it is needed", async () => {
  const { bytes, later } = await bundleCore();
  expect(bytes).toBeLessThanOrEqual(MAX_CORE_BYTES);
  expect(later).toEqual(["./requests.ts", "./store.ts"]);
}, 30_000);

test("importing the core reads no global but those of the language", async () => {
  const { code } = await bundleCore();
  const touched: string[] = [];
  const language = new Set([
    "undefined",
    "Object",
    "Error",
    "Map",
    "Set",
    "Symbol",
    "Number",
    "Math",
    "Promise",
    "JSON",
  ]);
  const globals = new Proxy(
    {},
    {
      has: () => true,
      get: (_, name) => {
        if (typeof name !== "string") return undefined;
        if (!language.has(name)) touched.push(name);
        return (globalThis as Record<string, unknown>)[name];
      },
    },
  );
  const body = code.replace(/export\s*\{[^}]*\};?/g, "").replace(/\bimport\(/g, "load(");
  runInNewContext(`(globals) => { with (globals) { (() => { ${body} })(); } }`, {})(globals);
  expect(touched).toEqual([]);
}, 30_000);

test("a program in Node reads events, and ends when it reads no more", async () => {
  const hub = await startHub();
  const folder = await mkdtemp(join(tmpdir(), "tidings-node-"));
  try {
    await hub.publish({ type: "data:update", data: { dataset: "prices", version: 7 } });
    const program = join(folder, "program.ts");
    const client = JSON.stringify(new URL("../src/index.ts", import.meta.url).href);
    await writeFile(
      program,
      `import { connect } from ${client};
      const hub = connect(process.argv[2]);
      for await (const item of hub.watch("data/prices")) {
        console.log(item.type, item.data.version ?? "");
        if (item.type === "channel:live") break;
      }`,
    );
    const { stdout } = await run(process.execPath, [program, hub.url], { timeout: 20_000 });
    expect(stdout.trim().split(/\s*\n/)).toEqual(["channel:subscribed", "data:update 7", "channel:live"]);
  } finally {
    await rm(folder, { recursive: true });
    await hub.stop();
  }
}, 30_000);

const CONTRACT = JSON.stringify(`${SOURCE}generated/contract.ts`);

test("a bundle with constants of the contract has none of its guards", async () => {
  const code = await bundle(`export { SUBPROTOCOL, shouldReconnect } from ${CONTRACT};`);
  expect(code).toContain("tidings.v1");
  expect(code).not.toContain("operation:start");
  expect(code.length).toBeLessThan(300);
});

test("a bundle with a guard has the checks", async () => {
  expect(await bundle(`export { isOperationStart } from ${CONTRACT};`)).toContain("expected one of");
});

test("the subprotocol is that of the contract", () => {
  expect(PROTOCOL).toBe(SUBPROTOCOL);
});

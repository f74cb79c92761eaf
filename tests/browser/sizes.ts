/** Prints the gzipped sizes of what browsers load, and fails if one is above its limit. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "vite";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const BUNDLE = join(ROOT, "src/tidings/server/dashboard/static");
const KB = 1000;
/** Of the client's core, minified as an application would ship it. */
const MAX_CORE_KB = 12;
/** Of all that the pages of the dashboard load together. */
const MAX_DASHBOARD_KB = 120;

/** The core of the client as one minified module. */
async function core(): Promise<string> {
  const built = await build({
    root: ROOT,
    configFile: false,
    logLevel: "warn",
    build: {
      write: false,
      target: "es2022",
      minify: true,
      lib: { entry: join(ROOT, "clients/typescript/src/index.ts"), formats: ["es"] },
    },
  });
  const outputs = Array.isArray(built) ? built : [built];
  return outputs
    .flatMap((one) => ("output" in one ? one.output : []))
    .map((file) => (file.type === "chunk" ? file.code : ""))
    .join("");
}

function gzipped(content: string | Buffer): number {
  return gzipSync(content, { level: 9 }).length / KB;
}

const files = readdirSync(BUNDLE, { recursive: true, encoding: "utf8" }).filter((name) =>
  /\.(js|css|html|svg)$/.test(name),
);
const sizes = files.sort().map((name) => ({ name, size: gzipped(readFileSync(join(BUNDLE, name))) }));
const pages = sizes.filter(({ name }) => name !== "elements.js").reduce((sum, { size }) => sum + size, 0);
const limits = [
  { name: "client core", size: gzipped(await core()), limit: MAX_CORE_KB },
  { name: "dashboard", size: pages, limit: MAX_DASHBOARD_KB },
];
for (const { name, size } of sizes) console.log(`  ${name}: ${size.toFixed(1)} KB`);
for (const { name, size, limit } of limits) {
  console.log(`${name}: ${size.toFixed(1)} KB of ${limit} KB gzipped`);
  if (size > limit) process.exitCode = 1;
}

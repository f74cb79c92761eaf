/** Prints the gzipped sizes of what browsers load, and fails if one is above its limit. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { bundleCore, MAX_CORE_BYTES } from "../../clients/typescript/tests/core-bundle.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const BUNDLE = join(ROOT, "src/tidings/server/dashboard/static");
const KB = 1000;
/** Of what the dashboard loads before it shows the list of operations. */
const MAX_FIRST_PAGE_KB = 75.7;
/** Of everything, with the other pages and the library for charts, which are loaded later. */
const MAX_DASHBOARD_KB = 139.8;

function gzipped(content: string | Buffer): number {
  return gzipSync(content, { level: 9 }).length / KB;
}

const files = readdirSync(BUNDLE, { recursive: true, encoding: "utf8" }).filter((name) =>
  /\.(js|css|html|svg)$/.test(name),
);
const sizes = files.sort().map((name) => ({ name, size: gzipped(readFileSync(join(BUNDLE, name))) }));
const pages = sizes.filter(({ name }) => name !== "elements.js").reduce((sum, { size }) => sum + size, 0);

/** Names of the files that `file` loads before it runs, itself included. */
function closure(file: string, found = new Set<string>()): Set<string> {
  if (found.has(file)) return found;
  found.add(file);
  const text = readFileSync(join(BUNDLE, file), "utf8");
  const pattern = file.endsWith(".html")
    ? /(?:src|href)="\.\/(assets\/[^"]+)"/g
    : /(?:from|import)\s*["'`]\.\/([^"'`]+\.js)["'`]/g;
  for (const [, name] of text.matchAll(pattern)) {
    closure(file.endsWith(".html") ? (name ?? "") : `assets/${name}`, found);
  }
  return found;
}

const first = closure("index.html");
const firstPage = sizes.filter(({ name }) => first.has(name)).reduce((sum, { size }) => sum + size, 0);
const limits = [
  { name: "client core", size: (await bundleCore()).bytes / KB, limit: MAX_CORE_BYTES / KB },
  { name: "first page", size: firstPage, limit: MAX_FIRST_PAGE_KB },
  { name: "all pages", size: pages, limit: MAX_DASHBOARD_KB },
];
for (const { name, size } of sizes) console.log(`  ${name}: ${size.toFixed(1)} KB`);
for (const { name, size, limit } of limits) {
  console.log(`${name}: ${size.toFixed(1)} KB of ${limit} KB gzipped`);
  if (size > limit) process.exitCode = 1;
}

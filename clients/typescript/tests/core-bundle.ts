/** The core of the client as a page loads it. */
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { type Plugin, rolldown } from "rolldown";

/** Limit of the core, in bytes, minified and gzipped. */
export const MAX_CORE_BYTES = 12_000;

const ENTRY = "virtual:core";
const CLIENT = fileURLToPath(new URL("../src/index.ts", import.meta.url));

/**
 * Bundle what `connect` needs at once. Parts that the client loads when they are needed are not bundled: requests and
 * event streams over HTTP, and the store of operations.
 *
 * @returns the code, the size of its gzipped form in bytes, and the parts that are loaded later.
 */
export async function bundleCore(): Promise<{ code: string; bytes: number; later: string[] }> {
  const later: string[] = [];
  const plugin: Plugin = {
    name: "core",
    resolveId: (id) => (id === ENTRY ? ENTRY : null),
    load: (id) => (id === ENTRY ? `export { connect } from ${JSON.stringify(CLIENT)};` : null),
    resolveDynamicImport(id) {
      later.push(String(id));
      return { id: String(id), external: true };
    },
  };
  const bundle = await rolldown({ input: ENTRY, platform: "browser", plugins: [plugin] });
  const { output } = await bundle.generate({ format: "esm", minify: true });
  await bundle.close();
  const code = output.map((file) => (file.type === "chunk" ? file.code : "")).join("");
  return { code, bytes: gzipSync(code, { level: 9 }).length, later: later.sort() };
}

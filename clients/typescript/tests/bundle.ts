import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

export const SOURCE = fileURLToPath(new URL("../src/", import.meta.url));

/** Returns the minified bundle of a module, as an application's bundler makes it. */
export async function bundle(program: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "tidings-bundle-"));
  try {
    const entry = join(folder, "entry.ts");
    await writeFile(entry, program);
    const built = await build({
      configFile: false,
      logLevel: "error",
      root: folder,
      build: {
        write: false,
        target: "es2022",
        modulePreload: false,
        rolldownOptions: { input: entry, preserveEntrySignatures: "strict", output: { format: "es" } },
      },
    });
    if (!("output" in built)) throw new TypeError("expected the output of one build");
    return built.output.map((file) => (file.type === "chunk" ? file.code : "")).join("");
  } finally {
    await rm(folder, { recursive: true });
  }
}

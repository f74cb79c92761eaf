import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** The elements in one file, which every hub serves at `/elements.js`. */
export default defineConfig({
  build: {
    outDir: at("../../src/tidings/server/dashboard/static"),
    emptyOutDir: false,
    target: "es2022",
    modulePreload: false,
    rolldownOptions: {
      input: at("src/elements/served.ts"),
      preserveEntrySignatures: "strict",
      output: { format: "es", entryFileNames: "elements.js", codeSplitting: false },
    },
  },
});

import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** The hub behind the development server; it must run with `--allow-origin http://localhost:5173`. */
const hub = process.env["TIDINGS_URL"] ?? "http://127.0.0.1:8765";
const proxy = { "/v1": { target: hub, changeOrigin: true }, "/ws": { target: hub, ws: true, changeOrigin: true } };

export default defineConfig({
  base: "./",
  resolve: { alias: { tidings: at("../clients/typescript/src/index.ts") } },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  server: { proxy },
  preview: { proxy },
  build: {
    outDir: at("../src/tidings/server/dashboard/static"),
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    rolldownOptions: {
      output: {
        // What the client loads when it is needed is needed by every page, and the network may be lost just then.
        codeSplitting: { groups: [{ name: "index", test: /^(?!.*uplot)/i }] },
      },
    },
  },
});

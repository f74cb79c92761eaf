import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { libraryParts } from "./library-parts.ts";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** The hub behind the development server; it must run with `--allow-origin http://localhost:5173`. */
const hub = process.env["TIDINGS_URL"] ?? "http://127.0.0.1:8765";
const proxy = { "/v1": { target: hub, changeOrigin: true }, "/ws": { target: hub, ws: true, changeOrigin: true } };

/** What belongs to the first file: all but the library for charts, and what only pages besides the list need. */
const FIRST =
  /^(?!.*(uplot|dashboard.src.(charts|format.ansi|pages.(events|log|names|operation|rest|system|wall)\b)))/i;

export default defineConfig({
  base: "./",
  plugins: [
    libraryParts,
    {
      // Vite's own code would load styles and other files before; those that are loaded later have none.
      name: "plain-imports",
      enforce: "pre",
      load: (id) => (id.includes("vite/preload-helper") ? "export const __vitePreload = (load) => load();" : null),
    },
  ],
  resolve: { alias: { tidings: at("../clients/typescript/src/index.ts") } },
  // Calls of `h` are a hundredth shorter than those of `jsx`, as children are not in an object.
  oxc: {
    jsx: { runtime: "classic", pragma: "h", pragmaFrag: "Fragment" },
    jsxInject: 'import { Fragment, h } from "preact";',
  },
  server: { proxy },
  preview: { proxy },
  build: {
    outDir: at("../src/tidings/server/dashboard/static"),
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    cssCodeSplit: false, // a page whose styles are late would be drawn without them
    assetsInlineLimit: 0,
    rolldownOptions: {
      output: {
        // What the client loads when it is needed is needed by every page, and the network may be lost just then.
        codeSplitting: { groups: [{ name: "index", test: FIRST }] },
      },
    },
  },
});

/**
 * A document for tests, from happy-dom. Import it before what looks for a document, such as react-dom. Node's own
 * `fetch` and `WebSocket` stay.
 */
import { Window } from "happy-dom";
import { afterAll } from "vitest";

export const page = new Window({ url: "http://127.0.0.1/" });

const NAMES = [
  "document",
  "Node",
  "Element",
  "HTMLElement",
  "HTMLIFrameElement",
  "CSSStyleSheet",
  "customElements",
  "requestAnimationFrame",
  "cancelAnimationFrame",
] as const;

Object.assign(globalThis, { window: globalThis });
for (const name of NAMES) {
  const value: unknown = page[name];
  const isFunction = name.endsWith("Frame") && typeof value === "function";
  Object.defineProperty(globalThis, name, { value: isFunction ? value.bind(page) : value, configurable: true });
}

afterAll(() => page.happyDOM.close());

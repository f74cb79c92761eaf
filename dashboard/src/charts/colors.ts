/**
 * Colours of the design tokens, as a canvas takes them.
 *
 * A canvas cannot read `light-dark()` or a variable. A hidden element has the token as its `color`; its computed style is
 * the colour in the theme of now.
 */

import { signal } from "@preact/signals";

/** Grows whenever the colours may have changed: another theme, more contrast, forced colours. */
export const colorsVersion = signal(0);

const CHANGES = ["(prefers-color-scheme: dark)", "(prefers-contrast: more)", "(forced-colors: active)"] as const;

let probe: HTMLElement | null = null;

/** Begin to watch for changes of the theme. Returns a function that ends it. */
export function watchColors(): () => void {
  const changed = () => {
    colorsVersion.value++;
  };
  const observer = new MutationObserver(changed);
  observer.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme", "data-link"] });
  const queries = CHANGES.map((query) => matchMedia(query));
  for (const query of queries) query.addEventListener("change", changed);
  return () => {
    observer.disconnect();
    for (const query of queries) query.removeEventListener("change", changed);
  };
}

/** Return the colour of a token such as `--running`, inside `where`, so that greyed parts of a page are grey. */
export function colorOf(token: `--${string}`, where: Element = document.body): string {
  probe ??= makeProbe();
  if (probe.parentElement !== where) where.append(probe);
  probe.style.color = `var(${token})`;
  return getComputedStyle(probe).color;
}

function makeProbe(): HTMLElement {
  const element = document.createElement("span");
  element.hidden = true;
  return element;
}

/** The definitions of the elements. */

import type { Hub } from "../options.ts";
import { OperationsElement } from "./list.ts";
import { type ElementsOptions, findRegistry } from "./registry.ts";
import { OperationElement } from "./single.ts";

/** Connects the elements of a page. */
export const TidingsElements = {
  /**
   * Connects the elements to a hub, also those that are in the page already, and returns its client. Without this, they
   * use the hub that served `elements.js`, else the page's own.
   */
  connect(options: ElementsOptions = {}): Hub {
    return findRegistry().connect(options);
  },
};

/** Defines the elements, unless another copy of this module has done so before; does nothing where there is no page. */
export function defineElements(): void {
  const { customElements } = globalThis as Partial<typeof globalThis>;
  for (const [name, element] of [
    ["tidings-operation", OperationElement],
    ["tidings-operations", OperationsElement],
  ] as const) {
    if (customElements !== undefined && customElements.get(name) === undefined) customElements.define(name, element);
  }
}

/** Changes of the list, as changes of its address. */

import { hrefOf, navigate } from "../../router.tsx";
import { type Filter, writeFilter } from "./filter.ts";
import { filter } from "./model.ts";

/** Address of the list with another filter. */
export function hrefWith(changes: Partial<Filter>): string {
  return hrefOf("operations", writeFilter({ ...filter.value, ...changes }));
}

/** Shows the list with another filter. Typing replaces the address; what is pressed adds one to the history. */
export function changeFilter(changes: Partial<Filter>, options: { readonly replace?: boolean } = {}): void {
  const href = hrefOf("operations", writeFilter({ ...filter.peek(), ...changes }));
  if (href !== location.pathname + location.search) navigate(href, options);
}

/** The list as the reader has left it: pages of one operation lead back there. */

import { type ReadonlySignal, signal } from "@preact/signals";
import { hrefOf } from "../../router.tsx";

const last = signal(hrefOf("operations"));

/** Address of the list with the filters that it had last. */
export const lastListHref: ReadonlySignal<string> = last;

/** Notes the address of the list. */
export function noteList(search: string): void {
  last.value = hrefOf("operations") + search;
}

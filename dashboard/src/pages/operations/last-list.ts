/** The list as the reader has left it: pages of one operation lead back there. */

import { type ReadonlySignal, signal } from "@preact/signals";
import { hrefOf, navigate } from "../../router.tsx";

const last = signal(hrefOf("operations"));

/** Address of the list with the filters that it had last. */
export const lastListHref: ReadonlySignal<string> = last;

/** Notes the address of the list. */
export function noteList(search: string): void {
  last.value = hrefOf("operations") + search;
}

let isComingBack = false;

/** Leads back to the list, with the focus on the row that was opened. */
export function backToList(): void {
  isComingBack = true;
  navigate(last.peek());
}

/** Whether the list is shown because of {@link backToList}; true once. */
export function takeComingBack(): boolean {
  const was = isComingBack;
  isComingBack = false;
  return was;
}

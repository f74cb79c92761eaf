/** Numbers of operations in groups of which only some are loaded: the hub counts them. */

import { signal, useComputed } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { TidingsError } from "tidings";
import { now } from "../../clock.ts";
import { hub } from "../../hub.ts";
import { type Filter, totalsQuery } from "./filter.ts";
import type { Totals } from "./model.ts";

/** Milliseconds after which a group that is in view is counted again. */
const RECOUNT_MS = 30_000;
/** Numbers that are kept. */
const MAX_KEPT = 200;

const counts = signal<ReadonlyMap<string, number>>(new Map());
/** One request at a time: a list may have many groups. */
let queue: Promise<void> = Promise.resolve();

/**
 * Counts what a filter chooses while it is shown; undefined until the hub has answered.
 *
 * @param wanted - The filter; undefined counts nothing.
 */
export function useTotal(wanted: Filter | undefined): number | undefined {
  const query = wanted === undefined ? undefined : totalsQuery(wanted);
  const key = query === undefined ? "" : JSON.stringify(query);
  const round = useComputed(() => Math.floor(now.value / RECOUNT_MS)).value;
  useEffect(() => {
    if (query === undefined) return;
    const abort = new AbortController();
    queue = queue.then(() => (abort.signal.aborted ? undefined : count(key, query, abort.signal)));
    return () => abort.abort();
  }, [key, round]);
  return counts.value.get(key);
}

async function count(key: string, query: ReturnType<typeof totalsQuery>, aborted: AbortSignal): Promise<void> {
  try {
    const answer = await hub.request<{ totals?: Totals }>("v1/operations", { query, signal: aborted });
    if (answer.totals === undefined) return;
    const others = [...counts.peek()].filter(([other]) => other !== key).slice(1 - MAX_KEPT);
    counts.value = new Map([...others, [key, answer.totals.matching]]);
  } catch (error) {
    // The number of before stays; the link and the list show what is wrong.
    if (!aborted.aborted && !(error instanceof TidingsError)) throw error;
  }
}

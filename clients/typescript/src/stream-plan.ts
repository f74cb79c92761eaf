/** Where a stream begins that takes all watches on. */
import type { Subscription } from "./subscription.ts";

export interface StreamPlan {
  /** The watch whose beginning must be read over HTTP before; undefined if the stream can be opened. */
  readonly next?: Subscription;
  readonly since: string;
}

export type PlanStream = typeof planStream;

/**
 * Return the next step to a stream, and bring the watches into its state. A stream has one start: where the live ones
 * are, or where the first of the others has read to over HTTP.
 *
 * @param position - Of the live watches.
 */
export function planStream(all: readonly Subscription[], position: string): StreamPlan {
  const others = all.filter(({ alone, since, state }) => state === "new" && (alone || since !== position));
  const [first] = others;
  const together = others.length === all.length && others.every(({ alone, since }) => !alone && since === first?.since);
  // One that starts now needs no beginning: it starts with the `channel:live` of the stream.
  const next = together ? undefined : others.find(({ alone, since }) => alone || since !== "now");
  if (next !== undefined) {
    next.state = "joining";
    return { next, since: "" };
  }
  const joined = all.find(({ since, state }) => state === "joining" && since !== "now");
  const resumed = all.some(({ since, state }) => state === "new" && since === position);
  const since = together ? first?.since : resumed ? position : joined?.since;
  for (const subscription of all) {
    if (!together && subscription.since === "now") subscription.state = "joining";
    else if (subscription.state === "joining") subscription.waiting = [];
    else subscription.state = "reading";
  }
  return { since: since ?? "now" };
}

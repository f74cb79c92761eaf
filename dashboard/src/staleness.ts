/** Whether what the page shows may be old. Pure. */

import type { ConnectionStateName } from "tidings";

/** What is known of the link so far. */
export interface Staleness {
  readonly wasLive: boolean;
  readonly isStale: boolean;
}

export const NEVER_LIVE: Staleness = { wasLive: false, isStale: false };

/**
 * Return what the next state of the link means. `connecting` alone is no loss: the client reports it, too, while it
 * opens its second connection beside a live one. After a loss it is one until the hub is there again.
 */
export function afterState(before: Staleness, state: ConnectionStateName): Staleness {
  switch (state) {
    case "live":
      return { wasLive: true, isStale: false };
    case "catching-up":
      return { ...before, isStale: false };
    case "connecting":
      return before;
    case "stale":
      return { ...before, isStale: true };
    case "closed":
      return { ...before, isStale: before.wasLive };
  }
}

/** Derives what an application sees of a connection. */
import type { Access } from "./authentication.ts";
import type { ConnectionReason, ConnectionState, ConnectionStateName, HubFacts, Reconnect } from "./connection.ts";

/** Reconnects that are kept. */
const MAX_ATTEMPTS = 10;

/** The facts from which a state is derived: all of its members, as they are now. */
export interface Facts extends Access {
  readonly state: ConnectionStateName;
  /** Now; milliseconds since 1970, as all times. */
  since: number;
  reason: ConnectionReason;
  heardAt: number | undefined;
  readonly retryAt: number | undefined;
  readonly attempts: readonly Reconnect[];
  readonly transport: "websocket" | "sse" | undefined;
  readonly hub: HubFacts | undefined;
}

/** Return the state for `facts`, which it keeps: `before` itself if nothing has changed. */
export function describe(before: ConnectionState, facts: Facts): ConnectionState {
  const { reason, state } = facts;
  if (state === before.state) {
    facts.heardAt = before.heardAt;
    if (before.reason.code !== "idle") facts.since = before.since;
  } else if (state !== "stale" && state !== "closed") facts.heardAt = undefined;
  const sameReason = reason.code === before.reason.code && reason.error === before.reason.error;
  facts.reason = sameReason ? before.reason : Object.freeze(reason);
  const members = Object.entries(facts).filter(([, value]) => value !== undefined);
  const unchanged = members.every(([name, value]) => before[name as keyof ConnectionState] === value);
  if (unchanged && members.length === Object.keys(before).length) return before;
  return Object.freeze(Object.fromEntries(members)) as unknown as ConnectionState;
}

/** Return `attempts` with another one. */
export function addAttempt(attempts: readonly Reconnect[], at: number, cause: string): readonly Reconnect[] {
  return Object.freeze(
    [...settleAttempt(attempts, "failed"), Object.freeze({ at, cause, outcome: "pending" as const })].slice(
      -MAX_ATTEMPTS,
    ),
  );
}

/** Return `attempts` with the outcome of the newest, if it has none yet. */
export function settleAttempt(attempts: readonly Reconnect[], outcome: Reconnect["outcome"]): readonly Reconnect[] {
  const last = attempts.at(-1);
  if (last?.outcome !== "pending") return attempts;
  return Object.freeze([...attempts.slice(0, -1), Object.freeze({ ...last, outcome })]);
}

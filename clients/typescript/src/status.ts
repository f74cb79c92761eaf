/** Derives what an application sees of a connection. */
import type { Access } from "./authentication.ts";
import type { ConnectionReason, ConnectionState, ConnectionStateName, HubFacts, Reconnect } from "./connection.ts";

/** Reconnects that are kept. */
const MAX_ATTEMPTS = 10;

/** The facts from which a state is derived. */
export interface Facts {
  readonly state: ConnectionStateName;
  readonly reason: ConnectionReason;
  /** Milliseconds since 1970, as all times. */
  readonly wall: number;
  readonly heardAt: number | undefined;
  readonly retryAt: number | undefined;
  readonly attempts: readonly Reconnect[];
  readonly transport: "websocket" | "sse" | undefined;
  readonly access: Access;
  readonly hub: HubFacts | undefined;
}

/** Return the state for `facts`: `before` itself if nothing has changed. */
export function describe(before: ConnectionState, facts: Facts): ConnectionState {
  const { access, attempts, hub, reason, retryAt, state, transport } = facts;
  const same = state === before.state;
  const sameReason = reason.code === before.reason.code && reason.error === before.reason.error;
  const { heardAt } = same ? before : facts;
  const members = Object.entries({
    state,
    since: same && before.reason.code !== "idle" ? before.since : facts.wall,
    reason: sameReason ? before.reason : Object.freeze(reason),
    attempts,
    heardAt: state === "stale" || state === "closed" ? heardAt : undefined,
    retryAt,
    transport,
    hub,
    ...access,
  }).filter(([, value]) => value !== undefined);
  const unchanged = members.every(([name, value]) => before[name as keyof ConnectionState] === value);
  if (unchanged && members.length === Object.keys(before).length) return before;
  return Object.freeze(Object.fromEntries(members)) as unknown as ConnectionState;
}

/** Return `attempts` with another one. */
export function addAttempt(attempts: readonly Reconnect[], at: number, cause: string): readonly Reconnect[] {
  return Object.freeze([...attempts, Object.freeze({ at, cause, outcome: "pending" as const })].slice(-MAX_ATTEMPTS));
}

/** Return `attempts` with the outcome of the newest, if it has none yet. */
export function settleAttempt(attempts: readonly Reconnect[], outcome: Reconnect["outcome"]): readonly Reconnect[] {
  const last = attempts.at(-1);
  if (last?.outcome !== "pending") return attempts;
  return Object.freeze([...attempts.slice(0, -1), Object.freeze({ ...last, outcome })]);
}

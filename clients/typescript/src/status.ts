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
  const { access, attempts, reason, state } = facts;
  const same = state === before.state;
  const sameReason = reason.code === before.reason.code && reason.error === before.reason.error;
  const { heardAt } = same ? before : facts;
  const next = Object.freeze({
    state,
    since: same && before.reason.code !== "idle" ? before.since : facts.wall,
    reason: sameReason ? before.reason : Object.freeze(reason),
    attempts,
    ...access,
    ...(heardAt === undefined || (state !== "stale" && state !== "closed") ? {} : { heardAt }),
    ...defined("retryAt", facts.retryAt),
    ...defined("transport", facts.transport),
    ...defined("hub", facts.hub),
  });
  const names = new Set([...Object.keys(before), ...Object.keys(next)]) as Set<keyof ConnectionState>;
  return [...names].every((name) => before[name] === next[name]) ? before : next;
}

function defined<Name extends string, T>(name: Name, value: T | undefined): { [name in Name]?: T } {
  return value === undefined ? {} : ({ [name]: value } as { [name in Name]: T });
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

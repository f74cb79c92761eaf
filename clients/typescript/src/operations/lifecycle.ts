/**
 * The life of an operation: all legal transitions, in one table (docs/protocol/operations.md, "States"). The hub decides
 * by the same table which events are legal; a client meets others only in a log that an older hub wrote.
 */

import type { OperationState } from "./operation.ts";

/** The transition that an event requests of an operation. */
export type Transition = "queue" | "start" | "progress" | "log" | "complete" | "fail" | "cancel";

/** The facts about an operation that decide which events are legal next. */
export interface Life {
  readonly attempt: number;
  readonly state: OperationState;
}

const TRANSITIONS: ReadonlyMap<string, Transition> = /* @__PURE__ */ (() =>
  new Map<string, Transition>([
    ["operation:start", "start"],
    ["operation:progress", "progress"],
    ["operation:log", "log"],
    ["operation:complete", "complete"],
    ["operation:failed", "fail"],
    ["operation:cancelled", "cancel"],
  ]))();

/** Effect of a legal transition: the new state, and whether it starts an attempt. */
interface Effect {
  readonly to: OperationState;
  readonly begins?: boolean;
}

/** Effects by transition; one that is absent is illegal, or has no effect. */
type Row = Readonly<Partial<Record<Transition, Effect>>>;

const ENDS: Row = { complete: { to: "complete" }, fail: { to: "failed" }, cancel: { to: "cancelled" } };
const STARTS: Row = { queue: { to: "queued", begins: true }, start: { to: "running", begins: true } };

const TABLE: Readonly<Record<OperationState | "none", Row>> = {
  none: {
    ...STARTS,
    progress: { to: "running", begins: true },
    complete: { to: "complete", begins: true },
    fail: { to: "failed", begins: true },
    cancel: { to: "cancelled", begins: true },
  },
  queued: {
    ...ENDS,
    queue: { to: "queued" },
    start: { to: "running" },
    progress: { to: "running" },
    log: { to: "queued" },
  },
  running: { ...ENDS, start: { to: "running" }, progress: { to: "running" }, log: { to: "running" } },
  complete: STARTS,
  failed: STARTS,
  cancelled: STARTS,
};

/** Returns the transition that an event requests; undefined if it does not belong to an operation's life. */
export function transitionOf(type: string, queued: boolean): Transition | undefined {
  const transition = TRANSITIONS.get(type);
  return transition === "start" && queued ? "queue" : transition;
}

/**
 * Returns the life after a transition: the same object if it stays as it was, undefined if the transition is illegal or
 * begins nothing.
 *
 * @param life - The life before; undefined where the operation is not known.
 * @param transition - The transition.
 * @param named - The attempt that the event names, if it names one.
 */
export function advance(life: Life | undefined, transition: Transition, named?: number): Life | undefined {
  const current = life?.attempt ?? 0;
  let state: OperationState | "none" = life?.state ?? "none";
  if (life !== undefined && named !== undefined && named !== current) {
    if (named < current || state === "queued" || state === "running") return undefined;
    state = "none"; // a later attempt, whose first event this is
  }
  const effect = TABLE[state][transition];
  if (effect === undefined) return undefined;
  if (!effect.begins) return life?.state === effect.to ? life : { attempt: current, state: effect.to };
  if (life !== undefined && named === current) return undefined;
  return { attempt: Math.max(1, named ?? current + 1), state: effect.to };
}

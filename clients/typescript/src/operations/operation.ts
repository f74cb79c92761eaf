/**
 * One operation, as `GET /v1/operations` describes it (docs/protocol/http.md, "An operation in a list"): the names are
 * those of the wire, times are RFC 3339 in UTC, durations are in seconds, and what is unknown is absent.
 */

import type { ErrorData } from "../generated/contract.ts";

/** State of an operation's current attempt. */
export type OperationState = "queued" | "running" | "complete" | "failed" | "cancelled";

/** Whether the producer that holds an operation is connected. */
export type Presence = "attached" | "away" | "unknown";

/** The hub's estimate of the remaining time of a running operation. */
export interface Estimate {
  /** Progress in percent per second. */
  readonly rate?: number | undefined;
  /** Remaining time, in seconds. */
  readonly remaining_s?: number | undefined;
  /** Lower end of the interval, in seconds. */
  readonly remaining_low_s?: number | undefined;
  /** Upper end of the interval, in seconds. */
  readonly remaining_high_s?: number | undefined;
  /** True: the operation is alive, but does not advance. */
  readonly stalled: boolean;
}

/** One operation: its current or last attempt. An object never changes; a change is another object. */
export interface Operation {
  readonly operation_id: string;
  /** Name for people; `""` where it has none. */
  readonly name: string;
  readonly state: OperationState;
  /** Number of the attempt that all fields describe, from 1. */
  readonly attempt: number;
  /** Trace id with which the attempt started. */
  readonly trace_id: string;
  readonly parent_id?: string | undefined;
  /** Percent done, 0–100; absent where it is unknown. Reported progress never falls within an attempt. */
  readonly progress?: number | undefined;
  /** `children`: the operation reports no progress; `progress` is the weighted mean of its children. */
  readonly progress_of?: "children" | undefined;
  /** True: the operation is alive, and the remaining work is unknown. */
  readonly indeterminate?: boolean | undefined;
  readonly current_step?: string | undefined;
  readonly total_steps?: number | undefined;
  /** Number of the current step, from 1: among the planned ones, or of those that were reached. */
  readonly step?: number | undefined;
  /** Progress in percent at which earlier steps ended; absent for more than twelve. */
  readonly step_ends?: readonly number[] | undefined;
  /** Log lines of the attempt at the level `warning`; absent if there is none. */
  readonly warnings?: number | undefined;
  /** Log lines of the attempt at the level `error` or above; absent if there is none. */
  readonly errors?: number | undefined;
  /** Current activity, or the outcome. */
  readonly message?: string | undefined;
  readonly queued_at?: string | undefined;
  readonly started_at?: string | undefined;
  readonly ended_at?: string | undefined;
  /** Time at which the newest event arrived. */
  readonly heard_at: string;
  /** Time at which progress last rose, or another step began. */
  readonly advanced_at?: string | undefined;
  /** Duration in seconds; absent while it runs. */
  readonly duration_s?: number | undefined;
  /** The producer that holds it. */
  readonly producer_id?: string | undefined;
  /** How long it outlives its producer's connection, in seconds; absent means without limit. */
  readonly lease_s?: number | undefined;
  /** Absent once it has ended. */
  readonly presence?: Presence | undefined;
  /** Last sign of life of a producer that is away. */
  readonly away_since?: string | undefined;
  /** True: alive, but not advancing; absent where that is unknown. */
  readonly stalled?: boolean | undefined;
  readonly estimate?: Estimate | undefined;
  readonly error?: ErrorData | undefined;
  /** Reason for the cancellation. */
  readonly reason?: string | undefined;
  /** Who cancelled it, or requested that. */
  readonly cancelled_by?: string | undefined;
  /** Time of a request to cancel it, while that is pending. */
  readonly cancel_requested_at?: string | undefined;
  readonly resumes?: string | undefined;
  readonly host?: string | undefined;
  readonly pid?: number | undefined;
  readonly command?: string | undefined;
  readonly user?: string | undefined;
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
}

/** Returns whether an operation has not ended. */
export function isLive(operation: { readonly state: OperationState }): boolean {
  return operation.state === "running" || operation.state === "queued";
}

/**
 * Route of one operation, whose query has its id: no path can have the id `..`, in whatever way it is written
 * (https://url.spec.whatwg.org/#double-dot-path-segment), and some proxies decode or refuse a `/` in a path.
 */
export const OPERATION_ROUTE = "v1/operation";

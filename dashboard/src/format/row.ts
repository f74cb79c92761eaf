/** One operation as the pages show it: what the live store and `GET /v1/operations` know about it. */

/** Fields of an operation; those of the wire, with the names and units of docs/protocol/http.md. */
export interface Row {
  readonly operation_id: string;
  readonly name: string;
  readonly state: "queued" | "running" | "complete" | "failed" | "cancelled";
  readonly attempt: number;
  readonly trace_id: string;
  readonly parent_id?: string | undefined;
  readonly progress?: number | undefined;
  readonly progress_of?: "children" | undefined;
  readonly indeterminate?: boolean | undefined;
  readonly current_step?: string | undefined;
  readonly total_steps?: number | undefined;
  readonly message?: string | undefined;
  readonly queued_at?: string | undefined;
  readonly started_at?: string | undefined;
  readonly ended_at?: string | undefined;
  readonly heard_at: string;
  readonly advanced_at?: string | undefined;
  readonly duration_s?: number | undefined;
  readonly producer_id?: string | undefined;
  readonly lease_s?: number | undefined;
  readonly presence?: "attached" | "away" | "unknown" | undefined;
  readonly away_since?: string | undefined;
  readonly stalled?: boolean | undefined;
  readonly estimate?:
    | {
        readonly rate?: number | undefined;
        readonly remaining_s?: number | undefined;
        readonly remaining_low_s?: number | undefined;
        readonly remaining_high_s?: number | undefined;
        readonly stalled: boolean;
      }
    | undefined;
  readonly error?:
    | {
        readonly code: string;
        readonly message: string;
        readonly details?: string | undefined;
        readonly recoverable: boolean;
        readonly hint?: string | undefined;
      }
    | undefined;
  readonly reason?: string | undefined;
  readonly cancelled_by?: string | undefined;
  readonly cancel_requested_at?: string | undefined;
  readonly host?: string | undefined;
  readonly command?: string | undefined;
  readonly user?: string | undefined;
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  /** Number of the current step, from 1. */
  readonly step?: number | undefined;
  /** Percent at which earlier steps ended; at most twelve. */
  readonly step_ends?: readonly number[] | undefined;
  /** Lines that the attempt logged as warnings; absent for none. */
  readonly warnings?: number | undefined;
  /** Lines that the attempt logged as errors; absent for none. */
  readonly errors?: number | undefined;
}

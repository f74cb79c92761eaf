/** One operation as the pages show it: what the live store and `GET /v1/operations` know about it. */

import type { Operation } from "tidings";

/** An operation, with what only the list of the hub has; the names and units are those of docs/protocol/http.md. */
export interface Row extends Operation {
  /** Number of the current step, from 1. */
  readonly step?: number | undefined;
  /** Percent at which earlier steps ended; at most twelve. */
  readonly step_ends?: readonly number[] | undefined;
  /** Lines that the attempt logged as warnings; absent for none. */
  readonly warnings?: number | undefined;
  /** Lines that the attempt logged as errors; absent for none. */
  readonly errors?: number | undefined;
}

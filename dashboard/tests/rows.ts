import type { Row } from "../src/format/row.ts";

/** An operation for tests; `at` is the minute of 2026-11-29 at which it began. */
export function row(operationId: string, facts: Partial<Row> = {}): Row {
  return {
    operation_id: operationId,
    name: "",
    state: "running",
    attempt: 1,
    trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
    heard_at: minute(0),
    started_at: minute(0),
    ...facts,
  };
}

/** A minute after 2026-11-29 02:00 UTC, as the wire has it. */
export function minute(count: number): string {
  return new Date(Date.UTC(2026, 10, 29, 2, count)).toISOString();
}

/** The form of the tables of the System page. */

import type { JSX } from "preact";
import { type ColumnHead, ListHead } from "../../parts/list-head.tsx";

function columnOf(label: string): ColumnHead {
  const names = [RIGHT.has(label) ? "num" : "", NOT_PHONE.has(label) ? "c-x" : ""].filter(Boolean).join(" ");
  return names === "" ? { label } : { label, class: names };
}

/** Properties of {@link Table}. */
export interface TableProps<Row> {
  readonly class: string;
  readonly label: string;
  readonly heads: readonly string[];
  readonly rows: readonly Row[];
  readonly children: (row: Row, index: number) => JSX.Element;
}

/** Columns whose head stands at the right. */
const RIGHT = new Set(["Lease", "Heard", "Pace", "Process", "Connections", "Up", "Behind", "Waiting", "Expires"]);
/** Columns that a phone does not show. */
const NOT_PHONE = new Set([
  "Presence",
  "Process",
  "Worker",
  "Version",
  "Producer",
  "Lease",
  "Address",
  "Source",
  "Reads",
  "Publishes as",
  "Pace",
  "Waiting",
]);

/** A table of the page. */
export function Table<Row>({ class: name, label, heads, rows, children }: TableProps<Row>): JSX.Element {
  return (
    <div class={`list ${name} frozen`} role="table" aria-label={label} aria-rowcount={rows.length + 1}>
      <ListHead columns={heads.map(columnOf)} />
      {rows.map((row, index) => children(row, index + 2))}
    </div>
  );
}

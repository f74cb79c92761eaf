/** The heads of the columns of a list. */

import type { JSX } from "preact";

/** One column. */
export interface ColumnHead {
  readonly label: string;
  /** Classes of its cells, such as `num`. */
  readonly class?: string;
  /** True: only screen readers have the label. */
  readonly isHidden?: boolean;
}

/** The row of the heads. */
export function ListHead({ columns }: { readonly columns: readonly ColumnHead[] }): JSX.Element {
  return (
    <div class="lhead" role="row" aria-rowindex={1}>
      {columns.map(({ label, class: name, isHidden }) => (
        <div key={label} role="columnheader" class={name}>
          {isHidden ? <span class="sr">{label}</span> : label}
        </div>
      ))}
    </div>
  );
}

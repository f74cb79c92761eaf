/** The order of a list that is held: values go on, rows neither move, come nor go. Pure. */

/** Rows in the order that is shown, and how many of them wait. */
export interface Held<Row> {
  readonly rows: readonly Row[];
  /** Rows that are not shown yet. */
  readonly fresh: number;
  /** True: the rows would be in another order. */
  readonly moved: boolean;
}

/**
 * Put rows into the order in which they were shown.
 *
 * @param rows - The rows in their right order.
 * @param shown - Names of the rows that are shown, in order; null if the list is not held.
 */
export function holdRows<Row extends { readonly name: string }>(
  rows: readonly Row[],
  shown: readonly string[] | null,
): Held<Row> {
  if (shown === null) return { rows, fresh: 0, moved: false };
  const byName = new Map(rows.map((row) => [row.name, row]));
  const kept = shown.flatMap((name) => {
    const row = byName.get(name);
    return row === undefined ? [] : [row];
  });
  const isShown = new Set(shown);
  const right = rows.filter((row) => isShown.has(row.name));
  return {
    rows: kept,
    fresh: rows.length - kept.length,
    moved: right.some((row, index) => row !== kept[index]),
  };
}

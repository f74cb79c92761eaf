/** The list of saved views. Pure. */

/** One saved view. */
export interface View {
  readonly name: string;
  /** The query of its address. */
  readonly search: string;
}

/** Views that are kept. */
const MAX_VIEWS = 20;

/** Reads saved views from JSON; what is not one is left out. */
export function readViews(json: unknown): readonly View[] {
  if (!Array.isArray(json)) return [];
  const isView = (each: unknown): each is View =>
    typeof each === "object" &&
    each !== null &&
    "name" in each &&
    "search" in each &&
    typeof each.name === "string" &&
    typeof each.search === "string";
  return json.filter(isView).slice(0, MAX_VIEWS);
}

/** Saves a view under a name: in place of another view of that name, and of the view's own earlier name. */
export function nameView(kept: readonly View[], named: View): readonly View[] {
  const others = kept.filter((each) => each.name !== named.name || each.search === named.search);
  const isKnown = others.some((each) => each.search === named.search);
  const next = isKnown ? others.map((each) => (each.search === named.search ? named : each)) : [...others, named];
  return next.slice(-MAX_VIEWS);
}

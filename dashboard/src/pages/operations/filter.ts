/** What the list of operations shows, and how: read from the query of the address, and written into it. */

import { lookOf } from "../../format/operation.ts";
import type { Row } from "../../format/row.ts";

/** States that can be chosen; the last two are conditions of a running operation. */
export const STATES = ["queued", "running", "complete", "failed", "cancelled", "stalled", "away"] as const;
export type StateChoice = (typeof STATES)[number];

/** States of operations that have ended. */
export const ENDED_STATES = ["complete", "failed", "cancelled"] as const;

export const GROUPINGS = ["state", "name", "producer", "parent", "none"] as const;
export type Grouping = (typeof GROUPINGS)[number];

/** Orders; each has the direction in which it is most useful. */
export const SORTS = {
  started: "Newest first",
  oldest: "Oldest first",
  ended: "Last ended first",
  name: "By name",
  progress: "By percent",
  remaining: "By remaining time",
  duration: "Longest first",
} as const;
export type Sort = keyof typeof SORTS;

/** Orders by something that ticks: taken once, and again when the reader presses it. */
export const SNAPSHOT_SORTS: ReadonlySet<Sort> = new Set(["progress", "remaining"]);

/** Columns that can be hidden. */
export const COLUMNS = {
  id: "Id",
  progress: "Progress",
  message: "Step or message",
  remaining: "Remaining",
  rate: "Rate",
  log: "Warnings and errors",
  age: "Age",
  producer: "Producer",
} as const;
export type Column = keyof typeof COLUMNS;

export const ALL_COLUMNS: ReadonlySet<Column> = new Set(Object.keys(COLUMNS) as Column[]);

/** What is shown. Sets and lists are empty where everything is. */
export interface Filter {
  readonly states: ReadonlySet<StateChoice>;
  /** Words that must all occur. */
  readonly text: string;
  /** Names; one that ends in `*` is a prefix. */
  readonly names: readonly string[];
  /** Paths as in a subscription: `operations/acme.*`. */
  readonly paths: readonly string[];
  readonly producer: string;
  readonly parent: string;
  readonly sort: Sort;
  readonly group: Grouping;
  readonly columns: ReadonlySet<Column>;
}

/** Reads a filter from the query of the address; what is not valid is left out. */
export function readFilter(query: URLSearchParams): Filter {
  const columns = query.get("columns");
  return {
    states: new Set(STATES.filter((state) => query.getAll("state").includes(state))),
    text: query.get("q") ?? "",
    names: distinct(query.getAll("name")),
    paths: distinct(query.getAll("path")),
    producer: query.get("producer") ?? "",
    parent: query.get("parent") ?? "",
    sort: isSort(query.get("sort")) ?? "started",
    group: GROUPINGS.find((each) => each === query.get("group")) ?? "state",
    columns:
      columns === null ? ALL_COLUMNS : new Set([...ALL_COLUMNS].filter((each) => columns.split(",").includes(each))),
  };
}

function isSort(text: string | null): Sort | undefined {
  return text !== null && Object.hasOwn(SORTS, text) ? (text as Sort) : undefined;
}

function distinct(texts: readonly string[]): readonly string[] {
  return [...new Set(texts.filter(Boolean))];
}

/** Writes a filter as the query of an address. Defaults are left out, so that one view has one address. */
export function writeFilter(filter: Filter): Record<string, string | readonly string[] | undefined> {
  const isAll = filter.columns.size === ALL_COLUMNS.size;
  return {
    state: STATES.filter((state) => filter.states.has(state)),
    q: filter.text,
    name: filter.names,
    path: filter.paths,
    producer: filter.producer,
    parent: filter.parent,
    sort: filter.sort === "started" ? undefined : filter.sort,
    group: filter.group === "state" ? undefined : filter.group,
    columns: isAll ? undefined : [...ALL_COLUMNS].filter((each) => filter.columns.has(each)).join(",") || "name",
  };
}

/** Whether a filter leaves operations out. */
export function isFiltering(filter: Filter): boolean {
  return filter.states.size > 0 || Object.keys(sharedQuery(filter)).length > 0;
}

/** The filter without what leaves operations out. */
export function withoutFilters(filter: Filter): Filter {
  return { ...filter, states: new Set(), text: "", names: [], paths: [], producer: "", parent: "" };
}

/** Query of `GET /v1/operations` for the ended operations of a filter; undefined if it excludes them all. */
export function historyQuery(filter: Filter): Record<string, string | readonly string[]> | undefined {
  const states = filter.states.size === 0 ? ENDED_STATES : ENDED_STATES.filter((state) => filter.states.has(state));
  if (states.length === 0) return undefined;
  return { ...sharedQuery(filter), state: states, ...sortQuery(filter.sort) };
}

/** Query of `GET /v1/operations` for the totals of a filter, for each state also without its states. */
export function totalsQuery(filter: Filter): Record<string, string | readonly string[]> {
  const states = STATES.filter((state) => filter.states.has(state));
  return { ...sharedQuery(filter), ...(states.length > 0 ? { state: states } : {}), totals: "true", limit: "1" };
}

/** Return the filter that chooses the operations of a group; undefined for groups that the hub cannot choose. */
export function filterOfGroup(id: string, filter: Filter): Filter | undefined {
  const space = id.indexOf(" ");
  const [kind, value] = [id.slice(0, space), id.slice(space + 1)];
  if (value === "") return undefined;
  // A star at the end of a name would choose others, too. Producers are grouped by their host.
  if (kind === "name") return value.endsWith("*") ? undefined : { ...filter, names: [value] };
  return kind === "parent" ? { ...filter, parent: value } : undefined;
}

function sharedQuery(filter: Filter): Record<string, string | readonly string[]> {
  const text = filter.text.trim();
  return {
    ...(text === "" ? {} : { q: text.slice(0, MAX_TEXT_CHARS) }),
    ...(filter.names.length > 0 ? { name: filter.names } : {}),
    ...(filter.paths.length > 0 ? { path: filter.paths } : {}),
    ...(filter.producer === "" ? {} : { producer: filter.producer }),
    ...(filter.parent === "" ? {} : { parent: filter.parent }),
  };
}

/** The longest text that the hub searches for. */
const MAX_TEXT_CHARS = 200;

function sortQuery(sort: Sort): Record<string, string> {
  switch (sort) {
    case "started":
    case "ended":
    case "remaining":
      return { sort: "ended" };
    case "oldest":
      return { sort: "ended", order: "asc" };
    default:
      return { sort };
  }
}

/** Whether an operation belongs to what a filter shows: the rule of the hub's own search, for operations that change. */
export function matches(row: Row, filter: Filter): boolean {
  if (filter.states.size > 0 && !filter.states.has(row.state) && !isCondition(row, filter.states)) return false;
  if (filter.parent !== "" && row.parent_id !== filter.parent) return false;
  if (filter.producer !== "" && row.producer_id !== filter.producer) return false;
  if (filter.names.length > 0 && !filter.names.some((name) => fits(row.name, name))) return false;
  if (filter.paths.length > 0 && !filter.paths.some((path) => isOnPath(row.operation_id, path))) return false;
  return holdsWords(row, filter.text);
}

function isCondition(row: Row, states: ReadonlySet<StateChoice>): boolean {
  const look = lookOf(row);
  return (look === "stalled" || look === "away") && states.has(look);
}

function fits(text: string, wanted: string): boolean {
  return wanted.endsWith("*") ? text.startsWith(wanted.slice(0, -1)) : text === wanted;
}

/** Whether an operation is on a path: `operations`, `operations/ID` or `operations/acme.*`. */
export function isOnPath(operationId: string, path: string): boolean {
  const slash = path.indexOf("/");
  const channel = slash < 0 ? path : path.slice(0, slash);
  if (channel !== "operations") return false;
  const key = slash < 0 ? "*" : path.slice(slash + 1);
  return fits(operationId, key);
}

function holdsWords(row: Row, text: string): boolean {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return true;
  const all = [row.name, row.operation_id, row.error?.code, row.error?.message, row.current_step, row.message]
    .filter(Boolean)
    .join("\n")
    .toLowerCase();
  return words.every((word) => all.includes(word));
}

/** A typed line as a filter: `name:Import* slow` sets the name, and searches for the rest. */
export function parseTyped(line: string, filter: Filter): Filter {
  let next = filter;
  const rest = line.replace(
    /(?:^|\s)(name|path|producer|parent|state):(?:"([^"]*)"|(\S+))/g,
    (whole, key, quoted, bare) => {
      const value: string = quoted ?? bare;
      const added = addFilter(next, key, value);
      if (added === undefined) return whole;
      next = added;
      return " ";
    },
  );
  return next === filter ? { ...next, text: line.trim() } : { ...next, text: rest.trim().replace(/\s+/g, " ") };
}

/** A filter with one more condition; undefined if there is no such condition. */
export function addFilter(filter: Filter, key: string, value: string): Filter | undefined {
  if (value === "") return undefined;
  switch (key) {
    case "name":
      return { ...filter, names: distinct([...filter.names, value]) };
    case "path":
      return { ...filter, paths: distinct([...filter.paths, value.includes("/") ? value : `operations/${value}`]) };
    case "producer":
      return { ...filter, producer: value };
    case "parent":
      return { ...filter, parent: value };
    case "state": {
      const state = STATES.find((each) => each === value);
      return state === undefined ? undefined : { ...filter, states: new Set([...filter.states, state]) };
    }
    default:
      return undefined;
  }
}

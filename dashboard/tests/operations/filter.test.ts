import { describe, expect, test } from "vitest";
import {
  ALL_COLUMNS,
  addFilter,
  type Filter,
  filterOfGroup,
  historyQuery,
  isFiltering,
  isOnPath,
  matches,
  parseTyped,
  readFilter,
  totalsQuery,
  withoutFilters,
  writeFilter,
} from "../../src/pages/operations/filter.ts";
import { row } from "../rows.ts";

const EVERYTHING = readFilter(new URLSearchParams());

function readBack(filter: Filter): Filter {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(writeFilter(filter))) {
    for (const each of typeof value === "string" ? [value] : (value ?? [])) search.append(name, each);
  }
  return readFilter(search);
}

describe("the address", () => {
  test("everything is an empty query", () => {
    const written = Object.values(writeFilter(EVERYTHING)).flat().filter(Boolean);
    expect(written).toEqual([]);
    expect(isFiltering(EVERYTHING)).toBe(false);
  });

  test("a filter is read back from its address, whatever it holds", () => {
    const filter: Filter = {
      states: new Set(["failed", "away"]),
      text: "50% & <b>",
      names: ["Import*", "a+b"],
      paths: ["operations/acme.*"],
      producer: "worker 3",
      parent: "close/2026",
      sort: "remaining",
      group: "producer",
      columns: new Set(["age"]),
    };
    expect(readBack(filter)).toEqual({ ...filter, states: new Set(["failed", "away"]) });
    expect(readBack({ ...filter, columns: new Set() }).columns.size).toBe(0);
    expect(withoutFilters(filter).columns).toBe(filter.columns);
  });

  test("what is not valid is left out", () => {
    const filter = readFilter(new URLSearchParams("state=odd&state=failed&sort=toString&group=x&columns=age,x"));
    expect([...filter.states]).toEqual(["failed"]);
    expect([filter.sort, filter.group, [...filter.columns]]).toEqual(["started", "state", ["age"]]);
    expect(readFilter(new URLSearchParams()).columns).toBe(ALL_COLUMNS);
  });
});

describe("what the hub is asked", () => {
  test("only ended operations are read in pages", () => {
    expect(historyQuery(EVERYTHING)).toEqual({ state: ["complete", "failed", "cancelled"], sort: "ended" });
    expect(historyQuery({ ...EVERYTHING, states: new Set(["running"]) })).toBeUndefined();
    expect(historyQuery({ ...EVERYTHING, states: new Set(["running", "failed"]) })?.["state"]).toEqual(["failed"]);
  });

  test("totals carry the whole filter, and text is cut to what the hub takes", () => {
    const filter = { ...EVERYTHING, text: ` ${"x".repeat(300)} `, states: new Set(["failed"] as const) };
    expect(totalsQuery(filter)).toEqual({ q: "x".repeat(200), state: ["failed"], totals: "true", limit: "1" });
  });
});

describe("matching", () => {
  const failed = row("acme.import-1", {
    name: "Import prices",
    state: "failed",
    producer_id: "worker-3",
    parent_id: "close",
    error: { code: "Timeout", message: "xetra did not answer", recoverable: true },
  });

  test.each<[string, Partial<Filter>, boolean]>([
    ["its state", { states: new Set(["failed"]) }, true],
    ["another state", { states: new Set(["running"]) }, false],
    ["words of its error, in any case and order", { text: "XETRA timeout" }, true],
    ["a word that is nowhere", { text: "xetra lse" }, false],
    ["a prefix of its name", { names: ["Deploy", "Import*"] }, true],
    ["a beginning of its name without a star", { names: ["Import"] }, false],
    ["its path", { paths: ["operations/acme.*"] }, true],
    ["another path", { paths: ["operations/other.*"] }, false],
    ["its producer and parent", { producer: "worker-3", parent: "close" }, true],
    ["another producer", { producer: "worker-4" }, false],
  ])("by %s", (_, facts, isMatch) => expect(matches(failed, { ...EVERYTHING, ...facts })).toBe(isMatch));

  test("stalled and away are conditions of a running operation", () => {
    const stalled = row("a", { stalled: true });
    expect(matches(stalled, { ...EVERYTHING, states: new Set(["stalled"]) })).toBe(true);
    expect(matches(stalled, { ...EVERYTHING, states: new Set(["running"]) })).toBe(true);
    expect(matches(row("a"), { ...EVERYTHING, states: new Set(["stalled"]) })).toBe(false);
  });

  test("paths of other channels hold no operations", () => {
    expect([isOnPath("a", "operations"), isOnPath("a", "operations/a"), isOnPath("a", "data/a")]).toEqual([
      true,
      true,
      false,
    ]);
  });
});

describe("the field", () => {
  test("conditions that are typed become filters", () => {
    const filter = parseTyped('slow name:"Import prices" path:acme.* state:failed  rows', EVERYTHING);
    expect(filter.text).toBe("slow rows");
    expect([filter.names, filter.paths, [...filter.states]]).toEqual([
      ["Import prices"],
      ["operations/acme.*"],
      ["failed"],
    ]);
  });

  test("what only looks like a condition is searched for", () => {
    expect(parseTyped("http://x state:odd", EVERYTHING).text).toBe("http://x state:odd");
    expect(addFilter(EVERYTHING, "name", "")).toBeUndefined();
  });
});

test("the hub can choose the operations of groups by name and by parent, and no others", () => {
  const filter = readFilter(new URLSearchParams("q=load&state=failed"));
  expect(filterOfGroup("name Import prices", filter)).toEqual({ ...filter, names: ["Import prices"] });
  expect(filterOfGroup("parent close 2026", filter)).toEqual({ ...filter, parent: "close 2026" });
  for (const id of ["name ", "name Import*", "parent ", "producer worker-1", "ended", "all"]) {
    expect(filterOfGroup(id, filter)).toBeUndefined();
  }
});

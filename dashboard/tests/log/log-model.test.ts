import { describe, expect, test } from "vitest";
import { followsAfterScroll, unreadLabel } from "../../src/pages/log/follow.ts";
import { LogModel, type LogRecord } from "../../src/pages/log/log-model.ts";
import { filterEntries, findMatches, nextMatch, segments } from "../../src/pages/log/log-search.ts";

let offset = 0;
const record = (message: string, more: Partial<LogRecord> = {}): LogRecord => ({
  position: `e:${++offset}`,
  at: 1_000 * offset,
  level: "info",
  attempt: 1,
  message,
  ...more,
});
const many = (count: number, from = 0) => Array.from({ length: count }, (_, index) => record(`line ${from + index}`));
const texts = (model: LogModel) => model.entries.map((entry) => (entry.kind === "line" ? entry.text : "…"));

describe("the lines", () => {
  test("memory is bounded while the reader follows", () => {
    const model = new LogModel({ lines: 100, characters: 1e9, aside: 10 });
    for (let index = 0; index < 500; index++) model.append([record(`line ${index}`)]);
    expect(model.entries.length).toBeLessThanOrEqual(100);
    expect(model.entries.length).toBeGreaterThanOrEqual(90);
    expect(texts(model).at(-1)).toBe("line 499");
    expect(model.removed + model.entries.length).toBe(500);
    expect(model.count("info")).toBe(model.entries.length);
  });

  test("memory is bounded by characters too", () => {
    const model = new LogModel({ lines: 1_000, characters: 100_000, aside: 10 });
    for (let index = 0; index < 50; index++) model.append([record("x".repeat(10_000))]);
    expect(model.entries.length).toBeLessThanOrEqual(10);
  });

  test("at 1,000 lines a second nothing moves under a reader", () => {
    const model = new LogModel({ lines: 2_000, characters: 1e9, aside: 100 });
    model.append(many(1_500));
    model.follow(false);
    const before = model.entries.slice(0, 1_500);
    for (let second = 0; second < 60; second++) model.append(many(1_000, 1_500 + 1_000 * second));
    expect(model.entries.slice(0, 1_500)).toEqual(before);
    expect(model.entries).toHaveLength(2_000);
    expect(model.unread).toBe(60_000);
    expect([...model.lines()]).toHaveLength(2_100);
    model.follow(true);
    expect(model.unread).toBe(0);
    expect(texts(model).at(-1)).toBe("line 61499");
    expect(model.entries.find((entry) => entry.kind === "gap")).toMatchObject({ lines: 61_500 - 2_100 });
    expect(model.entries.length).toBeLessThanOrEqual(2_000);
  });

  test("a line is numbered once, and is the same object as long as it is kept", () => {
    const model = new LogModel();
    model.append(many(3));
    const [first] = model.entries;
    model.append(many(3, 3));
    expect(model.entries[0]).toBe(first);
    expect(model.entries.map((entry) => entry.number)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test("100,000 refreshes of a bar are one line, in however many events they come", () => {
    const model = new LogModel();
    model.append([record("begin")]);
    for (let batch = 0; batch < 100; batch++) {
      model.append(Array.from({ length: 1_000 }, (_, index) => record(`\r ${batch * 1_000 + index}/100000`)));
    }
    model.append([record("end")]);
    expect(texts(model)).toEqual(["begin", " 99999/100000", "end"]);
    expect(model.entries[1]).toMatchObject({ refreshes: 100_000, number: 2 });
    expect(model.count("info")).toBe(3);
  });

  test("a bar whose refreshes end with a carriage return is one line too", () => {
    const model = new LogModel();
    model.append([record("10%\r"), record("20%\r"), record("done"), record("next")]);
    expect(texts(model)).toEqual(["done", "next"]);
  });

  test("a bar does not overwrite a line of another level or attempt", () => {
    const model = new LogModel();
    model.append([record("\r1"), record("\r2", { level: "error" }), record("\r3", { level: "error", attempt: 2 })]);
    expect(texts(model)).toEqual(["1", "2", "3"]);
    expect(model.count("error", "critical")).toBe(2);
  });

  test("an unknown level is shown as info, and an event without text as an empty line", () => {
    const model = new LogModel();
    model.append([record("", { level: "catastrophe" })]);
    expect(model.entries[0]).toMatchObject({ level: "info", text: "" });
  });
});

describe("filters and finding", () => {
  const model = new LogModel();
  model.append([
    record("xetra: asking"),
    record("\x1b[31mxet\x1b[0mra: no answer", { level: "warning" }),
    record("gave up on XETRA.", { level: "error", attempt: 2 }),
  ]);

  test("a filter hides lines, and finding covers what is shown", () => {
    const filter = { level: "warning", attempt: undefined } as const;
    expect(filterEntries(model.entries, filter)).toHaveLength(2);
    expect(filterEntries(model.entries, { level: "debug", attempt: 2 })).toHaveLength(1);
    expect(findMatches(model.lines(), "xetra")).toHaveLength(3);
    expect(findMatches(model.lines(), "xetra", filter)).toHaveLength(2);
    expect(findMatches(model.lines(), "")).toHaveLength(0);
  });

  test("the sought text is a text, not an expression", () => {
    expect(findMatches(model.lines(), ".")).toHaveLength(1);
    for (const hostile of ["(", "[", "\\", "a{99999}", "(a+)+$", "*", "-", "/", "😀"]) {
      expect(findMatches(model.lines(), hostile)).toHaveLength(0);
    }
  });

  test("a match that crosses styles is marked in each of its parts", () => {
    const found = findMatches(model.lines(), "xetra");
    const second = found.filter((match) => match.line.number === 2);
    const line = second[0]?.line;
    if (line === undefined) throw new Error("no match");
    expect(segments(line, second, second[0])).toEqual([
      { text: "xet", style: { foreground: 1 }, mark: "current" },
      { text: "ra", style: undefined, mark: "current" },
      { text: ": no answer", style: undefined, mark: undefined },
    ]);
  });

  test("finding begins where the reader is", () => {
    const found = findMatches(model.lines(), "xetra");
    expect([0, 1, 2, 3, 4].map((number) => nextMatch(found, number))).toEqual([0, 0, 1, 2, 0]);
    expect(nextMatch([], 3)).toBe(0);
  });
});

describe("following", () => {
  const end = { top: 800, height: 1_000, viewport: 200 };

  test("one pixel up releases, and the end follows again", () => {
    expect(followsAfterScroll(true, end, { ...end, top: 799 })).toBe(false);
    expect(followsAfterScroll(false, { ...end, top: 799 }, end)).toBe(true);
    expect(followsAfterScroll(false, { ...end, top: 700 }, { ...end, top: 750 })).toBe(false);
  });

  test("the end is reached with fractional scroll positions", () => {
    expect(followsAfterScroll(false, { ...end, top: 700 }, { ...end, top: 799.4 })).toBe(true);
  });

  test("new lines and a smaller log do not release", () => {
    expect(followsAfterScroll(true, end, { ...end, height: 1_200 })).toBe(true);
    expect(followsAfterScroll(true, end, { top: 600, height: 800, viewport: 200 })).toBe(true);
    expect(followsAfterScroll(true, end, { top: 700, height: 1_000, viewport: 300 })).toBe(true);
  });

  test("the button counts", () => {
    expect([0, 1, 214, 12_345].map(unreadLabel)).toEqual(["", "↓ 1 new line", "↓ 214 new lines", "↓ 12,345 new lines"]);
  });
});

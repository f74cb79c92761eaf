import { expect, test } from "vitest";
import { LogModel, type LogRecord } from "../../src/pages/log/log-model.ts";
import { describeTop, fileName, fileText, keyOf, rawText, rowsOf } from "../../src/pages/log/log-rows.ts";
import { ALL_LINES, LogSearch } from "../../src/pages/log/log-search.ts";
import { READING } from "../../src/pages/log/log-source.ts";

let offset = 0;
const record = (message: string, more: Partial<LogRecord> = {}): LogRecord => ({
  position: `e:${++offset}`,
  at: 0,
  level: "info",
  attempt: 1,
  message,
  ...more,
});
const modelOf = (...records: readonly LogRecord[]) => {
  const model = new LogModel();
  model.append(records);
  return model;
};

test("attempts, gaps and the top are said between the lines", () => {
  const model = modelOf(record("a"), record("b", { attempt: 2 }));
  model.appendGap(12_345);
  model.appendGap();
  model.append([record("c", { attempt: 2 })]);
  const rows = rowsOf(model.entries, "top");
  expect(rows.map((row) => row.text)).toEqual([
    "top",
    "a",
    "2nd attempt",
    "b",
    "12,345 lines are not shown",
    "Lines that came here are not shown",
    "c",
  ]);
  expect(new Set(rows.map(keyOf)).size).toBe(rows.length);
  expect(rowsOf(modelOf(record("x", { attempt: 3 })).entries, "")[0]?.text).toBe("3rd attempt");
});

test("the top says what is no longer kept, and nothing otherwise", () => {
  expect(describeTop(READING, 0)).toBe("");
  expect(describeTop({ ...READING, isTrimmed: true }, 0)).toContain("the hub keeps the newest 1,000");
  expect(describeTop(READING, 1)).toContain("1 earlier line left this page");
});

test("raw lines show their escapes as symbols", () => {
  const [line] = modelOf(record("\x1b[31mred\x7f\x9b\u202e\r\nnext")).lines();
  if (line === undefined) throw new Error("no line");
  expect(rawText(line)).toBe("␛[31mred␡<U+009B><U+202E>␍\nnext");
});

test("a file holds what is shown, or what was sent", () => {
  const model = modelOf(record("\x1b[31mred\x1b[0m"), record("late", { level: "error" }));
  const time = () => "02:00";
  expect(fileText(model.lines(), false, time)).toBe("02:00 info     red\n02:00 error    late\n");
  expect(fileText(model.lines(), true, time)).toBe("\x1b[31mred\x1b[0m\nlate\n");
  expect(fileText([], false, time)).toBe("");
});

test.each([
  ["import-1", "import-1.log"],
  ["../../etc/passwd", "etc-passwd.log"],
  ["a/b:c*d?", "a-b-c-d-.log"],
  ["\u202e/\0", "operation.log"],
  ["..", "operation.log"],
  ["x".repeat(300), `${"x".repeat(100)}.log`],
])("the file of %j is %s", (id, name) => {
  expect(fileName(id)).toBe(name);
});

test("finding in a log that grows searches each line once, and forgets what left", () => {
  const model = new LogModel({ lines: 100, characters: 1e6, aside: 10 });
  const search = new LogSearch("hit", ALL_LINES);
  let examined = 0;
  const counted = function* () {
    for (const line of model.lines()) {
      yield new Proxy(line, {
        get(target, name, receiver) {
          if (name === "text") examined++;
          return Reflect.get(target, name, receiver);
        },
      });
    }
  };
  for (let round = 0; round < 50; round++) {
    model.append([record(`hit ${round}`), record("miss")]);
    search.update(counted());
  }
  expect(search.update(model.lines())).toHaveLength(50);
  expect(examined).toBeLessThanOrEqual(3 * 50);
  for (let round = 0; round < 100; round++) model.append([record("miss")]);
  const found = search.update(model.lines());
  const first = model.entries[0]?.number ?? 0;
  expect(found.every(({ line }) => line.number >= first)).toBe(true);
  expect(found.length).toBeLessThan(50);
});

test("a bar that is overwritten is found by what it shows last", () => {
  const model = modelOf(record("\r10%"));
  const search = new LogSearch("%", ALL_LINES);
  expect(search.update(model.lines()).map(({ start }) => start)).toEqual([2]);
  model.append([record("\r100%")]);
  expect(search.update(model.lines()).map(({ start }) => start)).toEqual([3]);
  const other = new LogSearch("10%", ALL_LINES);
  expect(other.update(model.lines())).toHaveLength(0);
});

import { expect, test } from "vitest";
import { fullJson, type JsonText, layOutJson } from "../../src/pages/events/json-lines.ts";

const text = ({ lines }: JsonText) =>
  lines.map((line) => "  ".repeat(line.depth) + line.tokens.map((token) => token.text).join("")).join("\n");

test.each([
  [{ a: 1, b: [true, null, "x"], c: {}, d: [] }],
  [[]],
  ["text"],
  [null],
  [{ "": { 'a"b': "<script>alert(1)</script>" } }],
])("the lines of %j are its JSON", (value) => {
  expect(text(layOutJson(value))).toBe(JSON.stringify(value, null, 2));
});

test("each part knows what it is", () => {
  const { lines } = layOutJson({ a: 1 });
  expect(lines[1]?.tokens.map((token) => token.kind)).toEqual(["name", "mark", "value"]);
});

test("a long value is cut at the limit of lines, and says so", () => {
  const value = { rows: Array.from({ length: 10_000 }, (_, index) => ({ index })) };
  const laidOut = layOutJson(value, 100);
  expect(laidOut.lines.length).toBeLessThanOrEqual(103);
  expect(laidOut.cut).toBe(true);
  expect(layOutJson({ rows: [1, 2] }, 100).cut).toBe(false);
});

test("a long string is cut, and says how much more there is", () => {
  const { lines, cut } = layOutJson("x".repeat(64_000), 100, 10);
  expect(cut).toBe(true);
  expect(lines[0]?.tokens.map((token) => token.text).join("")).toBe('"xxxxxxxxxx" and 63,990 more characters');
});

test("characters that hide or reorder others are written as escapes of the same JSON", () => {
  const value = { "\u202ename": "a\u200bb\u2066c\u0085\n" };
  for (const written of [fullJson(value), text(layOutJson(value))]) {
    expect(written).toContain("\\u202e");
    expect(written).not.toMatch(/[\u202e\u200b\u2066\u0085]/u);
    expect(JSON.parse(written)).toEqual(value);
  }
});

test("deep nesting is shown", () => {
  let value: unknown = 1;
  for (let depth = 0; depth < 64; depth++) value = [value];
  expect(text(layOutJson(value))).toBe(JSON.stringify(value, null, 2));
});

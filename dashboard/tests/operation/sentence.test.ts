import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { afterwordOf, type Summarized, sentenceOf, summarize } from "../../src/pages/operation/sentence.ts";

interface Case {
  readonly now: string;
  readonly operation: Summarized;
  readonly line: string;
}

// The command line's tests read the same file.
const cases: readonly Case[] = JSON.parse(
  readFileSync(new URL("../../../tests/cli/sentences.json", import.meta.url), "utf8"),
);

describe("the sentence is that of the command line", () => {
  test.each(cases.map((each) => [each.line.slice(0, 60), each] as const))("%s", (_, { now, operation, line }) => {
    const error = operation.error;
    const expected = error ? line.slice(0, line.indexOf(`: ${error.code}`)) : line;
    expect(summarize(operation, Date.parse(now))).toBe(expected);
    const { head, rest } = sentenceOf(operation, Date.parse(now));
    expect(head.charAt(0).toLowerCase() + head.slice(1) + rest).toBe(expected);
    expect(head).toMatch(
      /^(Queued for \d+ \w+|Running(, or lost)?|(Complete|Failed|Cancelled)( just now| \d+ \w+ ago)?)$/,
    );
  });
});

test("an unsuccessful end is followed by what is usual", () => {
  const failed = cases.find((each) => each.operation.state === "failed");
  if (failed === undefined) throw new Error("no case");
  expect(afterwordOf(failed.operation, Date.parse(failed.now))).toBe("Usually takes 5 min; last success 24 h ago.");
  const { usual: _, ...unknown } = failed.operation;
  expect(afterwordOf(unknown, Date.parse(failed.now))).toBe("");
});

import { describe, expect, test } from "vitest";
import { joinSentences } from "../src/announcer.ts";
import { looksOf, sentencesFor } from "../src/ends-model.ts";
import { row } from "./rows.ts";

const error = { code: "x", message: "broke", recoverable: false };

describe("what screen readers are told", () => {
  test("ends and troubles of what was live, and nothing else", () => {
    const before = [row("a"), row("b"), row("c", { state: "complete" }), row("d", { state: "queued" }), row("e")];
    const after = [
      row("a", { state: "failed", error }),
      row("b", { progress: 50 }),
      row("c", { state: "complete" }),
      row("d"),
      row("e", { stalled: true }),
      row("new", { state: "failed", error }),
    ];
    expect(sentencesFor(looksOf(before), after)).toEqual(["a failed: x: broke", "e makes no progress"]);
  });

  test("a producer that comes back is not announced", () => {
    expect(sentencesFor(looksOf([row("a", { presence: "away" })]), [row("a")])).toEqual([]);
  });

  test("many at once are counted", () => {
    expect(joinSentences(["a", "b", "c", "d", "e"])).toBe("a. b. c. And 2 more");
    expect(joinSentences(["a"])).toBe("a");
  });
});

import { describe, expect, test } from "vitest";
import { addSeen, MAX_SEEN, removeSeen, troubledIn, troubleKey, unseenOf } from "../src/attention-model.ts";
import type { Row } from "../src/format/row.ts";
import { minute, row } from "./rows.ts";

const failed = row("import-1", { name: "Import", state: "failed", ended_at: minute(10) });

function ids(rows: readonly Row[]): readonly string[] {
  return rows.map((each) => each.operation_id);
}

describe("what needs attention", () => {
  test("failed, stalled and away do; the rest is quiet", () => {
    const rows = [
      failed,
      row("b", { stalled: true }),
      row("c", { presence: "away" }),
      row("d"),
      row("e", { state: "cancelled" }),
      row("f", { state: "queued" }),
    ];
    expect(ids(troubledIn(rows))).toEqual(["import-1", "b", "c"]);
  });

  test("a failure leaves when a later run of its name is complete, not when an earlier one was", () => {
    const run = (at: number) => row(`run-${at}`, { name: "Import", state: "complete", ended_at: minute(at) });
    expect(ids(troubledIn([failed, run(9)]))).toEqual(["import-1"]);
    expect(ids(troubledIn([failed, run(11)]))).toEqual([]);
    expect(
      ids(
        troubledIn([
          { ...failed, name: "" },
          { ...run(11), name: "" },
        ]),
      ),
    ).toEqual(["import-1"]);
  });

  test("a failure leaves when a later attempt runs, and comes back if that fails", () => {
    const seen = addSeen([], [troubleKey(failed)]);
    expect(unseenOf(troubledIn([failed]), seen)).toEqual([]);
    expect(troubledIn([{ ...failed, state: "running", attempt: 2 }])).toEqual([]);
    expect(ids(unseenOf(troubledIn([{ ...failed, attempt: 2 }]), seen))).toEqual(["import-1"]);
  });

  test("what was seen as stalled is new when its producer goes away", () => {
    const stalled = row("a", { stalled: true });
    const seen = addSeen([], [troubleKey(stalled)]);
    expect(unseenOf([stalled], seen)).toEqual([]);
    expect(ids(unseenOf([{ ...stalled, presence: "away" }], seen))).toEqual(["a"]);
  });
});

describe("what was seen", () => {
  test("undoing brings back just what was dismissed", () => {
    const before = addSeen([], ["a", "b"]);
    expect(removeSeen(addSeen(before, ["b", "c"]), ["c"])).toEqual(before);
  });

  test("it is bounded, and the oldest leave", () => {
    const keys = Array.from({ length: MAX_SEEN + 5 }, (_, index) => `key ${index}`);
    const seen = addSeen([], keys);
    expect([seen.length, seen[0]]).toEqual([MAX_SEEN, "key 5"]);
  });
});

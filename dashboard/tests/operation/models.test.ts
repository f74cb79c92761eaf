import { describe, expect, test } from "vitest";
import type { Row } from "../../src/format/row.ts";
import { readAnswers, recall, remember } from "../../src/pages/operation/cancel-answers.ts";
import { cancellingOf, cancellingText, NO_REQUEST, type OwnRequest } from "../../src/pages/operation/cancelling.ts";
import { attemptsOf, merge, type OperationDetail } from "../../src/pages/operation/detail.ts";
import { describeChildren, isFinished, sizeOf, treeBelow } from "../../src/pages/operation/family.ts";

const operation = (more: Partial<Row> = {}): Row => ({
  operation_id: "op-1",
  name: "Import prices",
  state: "running",
  attempt: 1,
  trace_id: "t",
  heard_at: "2026-11-30T02:00:00Z",
  ...more,
});

describe("cancelling", () => {
  const requested = operation({
    cancel_requested_at: "2026-11-30T02:00:00Z",
    cancelled_by: "ops",
    presence: "attached",
  });
  const sent: OwnRequest = { kind: "sent", attempt: 1 };
  const answered = (outcome: "refused" | "pending" | "unreachable" | "cancelled", reason?: string): OwnRequest => ({
    kind: "answered",
    answer: { outcome, state: "running", attempt: 1, ...(reason === undefined ? {} : { reason }) },
  });
  const text = (shown: Row, own: OwnRequest, was = false) =>
    cancellingText(cancellingOf(shown, own, was), "Import prices");

  test("asked, stopping, ended", () => {
    expect(text(operation(), NO_REQUEST)).toBe("");
    expect(text(operation(), sent)).toBe("Asked to stop");
    expect(text(requested, sent)).toBe("Stopping, asked by ops");
    expect(cancellingOf(operation({ state: "cancelled" }), sent, true)).toEqual({ kind: "ended", state: "cancelled" });
    expect(text(operation({ state: "complete" }), sent, true)).toBe("It ended before it could be cancelled: complete");
  });

  test("another tab, and this one after it was loaded again, show the same", () => {
    expect(text(requested, NO_REQUEST)).toBe("Stopping, asked by ops");
    expect(text(operation(), NO_REQUEST, true)).toBe("Import prices goes on: its producer refused");
    expect(cancellingOf(operation({ state: "cancelled" }), NO_REQUEST, false)).toEqual({ kind: "none" });
  });

  test("refused, no answer, and agreed without an end", () => {
    expect(text(operation(), answered("refused", "half written"), true)).toBe(
      "Import prices goes on: its producer refused: half written",
    );
    expect(text(operation(), answered("unreachable"))).toBe(
      "No answer: no producer could be asked, and Import prices goes on",
    );
    expect(text(requested, answered("pending"))).toBe("Stopping, asked by ops; it agreed, and has not ended yet");
    expect(text({ ...requested, presence: "away" }, answered("unreachable"))).toContain(
      "asked again when it comes back",
    );
    expect(text(requested, answered("unreachable"))).toBe("Stopping, asked by ops; its producer has not answered yet");
    expect(text(operation(), answered("cancelled"))).toBe("Stopping, as requested");
  });

  test("an answer about an earlier attempt says nothing about the next", () => {
    expect(cancellingOf(operation({ attempt: 2 }), answered("refused"), false)).toEqual({ kind: "none" });
    expect(cancellingOf(operation({ attempt: 2 }), sent, false)).toEqual({ kind: "none" });
  });
});

describe("children", () => {
  const child = (id: string, parent: string, state: Row["state"] = "complete") =>
    operation({ operation_id: id, parent_id: parent, state, started_at: `2026-11-30T02:00:0${id.length}Z` });

  test("a tree in the order of their beginning", () => {
    const tree = treeBelow("p", [child("ccc", "a"), child("bb", "p", "failed"), child("a", "p"), child("x", "other")]);
    expect(tree.map(({ operation: { operation_id } }) => operation_id)).toEqual(["a", "bb"]);
    expect(tree[0]?.children).toHaveLength(1);
    expect(sizeOf(tree)).toBe(3);
    expect(tree.map(isFinished)).toEqual([true, false]);
    expect(describeChildren(tree)).toBe("1 complete, 1 failed");
  });

  test("a branch with a running part is not finished", () => {
    const [branch] = treeBelow("p", [child("a", "p"), child("b", "a", "running")]);
    expect(branch === undefined ? undefined : isFinished(branch)).toBe(false);
  });

  test("cycles and long chains end", () => {
    expect(sizeOf(treeBelow("p", [child("p", "a"), child("a", "p"), child("b", "b")]))).toBe(1);
    const chain = Array.from({ length: 10_000 }, (_, index) => child(`c${index}`, index === 0 ? "p" : `c${index - 1}`));
    expect(sizeOf(treeBelow("p", chain))).toBe(8);
  });
});

test("attempts are read from the timeline where the hub lists none", () => {
  const detail: OperationDetail = {
    ...operation(),
    steps: [],
    children: [],
    timeline: [
      { at: "2026-11-30T02:00:00Z", state: "queued", attempt: 1 },
      { at: "2026-11-30T02:00:05Z", state: "running", attempt: 1 },
      { at: "2026-11-30T02:00:15Z", state: "failed", attempt: 1, code: "boom" },
      { at: "2026-11-30T02:01:00Z", state: "running", attempt: 2 },
    ],
  };
  expect(attemptsOf(detail)).toEqual([
    {
      attempt: 1,
      state: "failed",
      queued_at: "2026-11-30T02:00:00Z",
      started_at: "2026-11-30T02:00:05Z",
      ended_at: "2026-11-30T02:00:15Z",
      duration_s: 10,
      code: "boom",
    },
    { attempt: 2, state: "running", started_at: "2026-11-30T02:01:00Z" },
  ]);
});

describe("details and live events", () => {
  const detail: OperationDetail = {
    ...operation({ progress: 10, producer_id: "p-1", lease_s: 30, presence: "attached" }),
    steps: [],
    children: [],
    timeline: [],
    usual: { runs: 3, failed: 0 },
  };

  test("what is newer wins, and what only the hub knows stays", () => {
    const live = operation({ progress: 20, heard_at: "2026-11-30T02:00:05Z", presence: undefined });
    expect(merge(detail, live)).toMatchObject({
      progress: 20,
      producer_id: "p-1",
      presence: "attached",
      usual: { runs: 3 },
    });
    const older = operation({ progress: 5, heard_at: "2026-11-30T01:59:00Z" });
    expect(merge(detail, older)).toBe(detail);
    expect(merge(detail, undefined)).toBe(detail);
    expect(merge(undefined, live)).toBeUndefined();
  });

  test("an end drops what held while it ran, and an earlier attempt changes nothing", () => {
    const ended = operation({ state: "failed", heard_at: "2026-11-30T02:00:05Z", presence: undefined });
    expect(merge(detail, ended)?.presence).toBeUndefined();
    expect(merge({ ...detail, attempt: 2 }, ended)?.state).toBe("running");
  });
});

describe("answers of other tabs", () => {
  const refused = { outcome: "refused", state: "running", attempt: 1, reason: "it writes the books" } as const;
  const kept = remember([], "op-1", refused);
  const text = (shown: Row) => cancellingText(cancellingOf(shown, recall(kept, shown), false), "Import prices");

  test("a refusal is told with its reason, for its attempt only", () => {
    expect(text(operation())).toBe("Import prices goes on: its producer refused: it writes the books");
    expect(text(operation({ attempt: 2 }))).toBe("");
    expect(text(operation({ operation_id: "op-2" }))).toBe("");
    expect(text(operation({ state: "complete" }))).toBe("");
  });

  test("the newest answer counts, their number is bounded, and what is stored is checked", () => {
    const ended = remember(kept, "op-1", { outcome: "finished_first", state: "complete", attempt: 1 });
    expect(ended).toHaveLength(1);
    expect(recall(ended, operation())).toEqual(NO_REQUEST);
    expect(recall(ended, operation({ state: "complete" })).kind).toBe("answered");
    let many = kept;
    for (let n = 0; n < 100; n++) many = remember(many, `op-${n}`, refused);
    expect(many).toHaveLength(50);
    expect(readAnswers(JSON.parse(JSON.stringify(kept)))).toEqual(kept);
    expect(readAnswers([null, 1, {}, { ...kept[0], outcome: "x" }, { ...kept[0], reason: 1 }])).toEqual([]);
    expect(readAnswers({})).toEqual([]);
  });
});

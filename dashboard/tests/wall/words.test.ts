import { expect, test } from "vitest";
import type { Row } from "../../src/format/row.ts";
import type { WallRow } from "../../src/pages/wall/layout.ts";
import { midnightBefore, sayOf, timeOf } from "../../src/pages/wall/words.ts";

const NOW = Date.parse("2026-11-29T02:15:00Z");
const at = (secondsAgo: number) => new Date(NOW - secondsAgo * 1000).toISOString();

function row(look: WallRow["look"], more: object, extra: Partial<WallRow> = {}): WallRow {
  const state = look === "stalled" || look === "away" ? "running" : look;
  const operation = {
    operation_id: "op",
    name: "Import",
    state,
    attempt: 1,
    trace_id: "t",
    heard_at: at(1),
    ...more,
  } as Row;
  return { name: "Import", operation, look, others: 0, afterFailure: false, ...extra };
}

test("a failure says why and since when", () => {
  const failed = row("failed", {
    ended_at: at(720),
    error: { code: "x", message: "xetra did not answer", recoverable: true },
  });
  expect([sayOf(failed, NOW), timeOf(failed, NOW, 60)]).toEqual(["xetra did not answer", "failed 12 min ago"]);
});

test("an absent producer has time left", () => {
  const away = row("away", { presence: "away", away_since: at(20), lease_s: 30 });
  expect([sayOf(away, NOW), timeOf(away, NOW, 60)]).toEqual(["producer away for 20 s", "fails in 10 s"]);
});

test("a stalled run says how long it usually takes", () => {
  const stalled = row("stalled", { advanced_at: at(840), stalled: true });
  expect([sayOf(stalled, NOW), timeOf(stalled, NOW, 360)]).toEqual(["No progress for 14 min", "usually 6 min"]);
});

test("a running one says how long is left, or how long it runs", () => {
  const estimate = { remaining_s: 300, remaining_low_s: 240, remaining_high_s: 360, stalled: false };
  expect(timeOf(row("running", { estimate, started_at: at(60) }), NOW, undefined)).toBe("4 to 6 min left");
  expect(timeOf(row("running", { started_at: at(3_120) }), NOW, undefined)).toBe("for 52 min");
});

test("other runs of the name, and a failure before, are not hidden", () => {
  const running = row("running", { current_step: "parse" }, { others: 2, afterFailure: true });
  expect(sayOf(running, NOW)).toBe("parse; the run before failed; and 2 more of it");
});

test("a day begins at midnight of the chosen zone", () => {
  expect(midnightBefore(NOW, "utc")).toBe(Date.parse("2026-11-29T00:00:00Z"));
  expect(new Date(midnightBefore(NOW, "local")).getHours()).toBe(0);
});

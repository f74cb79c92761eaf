import { describe, expect, test } from "vitest";
import { barOf } from "../../src/format/bar.ts";
import {
  ageOf,
  announcementOf,
  lookOf,
  messageOf,
  nameOf,
  percentOf,
  remainingOf,
  troublesIn,
} from "../../src/format/operation.ts";
import { plain, splitName } from "../../src/format/text.ts";
import { ageSeconds, formatFullTime, formatTime } from "../../src/format/time.ts";
import { minute, row } from "../rows.ts";

const NOW = Date.parse(minute(15));

describe("looks and words", () => {
  test("a producer that is away is the greater trouble", () => {
    expect(lookOf(row("a", { presence: "away", stalled: true }))).toBe("away");
    expect(lookOf(row("a", { stalled: true }))).toBe("stalled");
    expect(lookOf(row("a", { state: "failed", stalled: true, presence: "away" }))).toBe("failed");
  });

  test("a row says what is the matter, with its time", () => {
    const away = row("a", { presence: "away", away_since: "2026-11-29T02:14:40Z", lease_s: 30 });
    expect(messageOf(away, NOW)).toBe("Producer away for 20 s; fails in 10 s unless it comes back");
    expect(messageOf(row("a", { stalled: true, advanced_at: minute(1) }), NOW)).toBe("No progress for 14 min");
    expect(messageOf(row("a", { state: "queued" }), NOW)).toBe("Waiting for a worker");
    const failed = row("a", { state: "failed", error: { code: "Timeout", message: "no\nanswer", recoverable: true } });
    expect(messageOf(failed, NOW)).toBe("Timeout: no answer");
    const cancelled = row("a", { state: "cancelled", cancelled_by: "ops", reason: "wrong file" });
    expect(messageOf(cancelled, NOW)).toBe("Cancelled by ops: wrong file");
  });

  test("a step is named with its number", () => {
    const at = { current_step: "parse", step: 2, total_steps: 3, message: "2 of 40 files" };
    expect(messageOf(row("a", at), NOW)).toBe("parse, 2 of 3, 2 of 40 files");
    expect(messageOf(row("a", { current_step: "parse" }), NOW)).toBe("parse");
  });

  test("a message that repeats the step is said once", () => {
    expect(messageOf(row("a", { current_step: "parse", message: "parse" }), NOW)).toBe("parse");
  });

  test("a stalled operation has no remaining time", () => {
    const estimate = { remaining_s: 40, stalled: false };
    expect(remainingOf(row("a", { estimate }))).toBe("about 40 s left");
    expect(remainingOf(row("a", { estimate, stalled: true }))).toBe("");
    expect(remainingOf(row("a", { estimate, presence: "away" }))).toBe("");
    expect(remainingOf(row("a", { state: "complete", duration_s: 38 }))).toBe("took 38 s");
  });

  test("99.9 % is not yet 100, and what is unknown has no number", () => {
    expect(percentOf(row("a", { progress: 99.9 }))).toBe(99);
    expect(percentOf(row("a", { progress: 12, indeterminate: true }))).toBeUndefined();
    expect(percentOf(row("a"))).toBeUndefined();
  });

  test("an age from the clock of a producer that is ahead is not negative", () => {
    expect(ageSeconds(minute(16), NOW)).toBe(0);
    expect(ageOf(row("a", { started_at: minute(16) }), NOW)).toBe("0 s");
    expect(ageOf(row("a", { state: "complete", ended_at: minute(3) }), NOW)).toBe("12 min ago");
  });

  test("troubles are counted in words", () => {
    expect(troublesIn(["failed", "failed", "away", "running"])).toBe(
      "2 failed since you last looked, 1 with its producer away",
    );
    expect(troublesIn([])).toBe("");
  });

  test("an end is one sentence", () => {
    const failed = row("a", {
      name: "Import",
      state: "failed",
      error: { code: "x", message: "y", recoverable: false },
    });
    expect(announcementOf(failed)).toBe("Import failed: x: y");
    expect(announcementOf(row("a", { name: "Import", state: "complete" }))).toBe("Import is complete");
  });
});

describe("text from events", () => {
  test("marks that reorder or hide text are removed", () => {
    expect(plain("a\u202eb\u2066c\u200bd\r\ne\u0000")).toBe("a b c d e");
    expect(plain("\u115f\u3164")).toBe("");
    expect(plain("so\u00adft\u034f\u{e0041}")).toBe("so ft");
    expect(plain("👩‍👩‍👧 عربي")).toBe("👩‍👩‍👧 عربي");
  });

  test("a name of 24 characters is never cut, a longer one keeps its end", () => {
    expect(splitName("a".repeat(24))).toEqual(["a".repeat(24), ""]);
    expect(splitName(`nightly-import-of-prices-2026-11-29`)).toEqual(["nightly-import-of-prices-", "2026-11-29"]);
    expect(nameOf(row("import-1"))).toBe("import-1");
  });
});

describe("times", () => {
  const at = Date.parse("2026-11-28T20:15:04.120Z");
  test("a time of another day has its day", () => {
    expect(formatTime(at, "utc", NOW)).toBe("28 Nov, 20:15");
    expect(formatTime(at, "utc", at)).toBe("20:15:04");
  });

  test("the full time names its zone", () => {
    expect(formatFullTime(at, "utc")).toBe("2026-11-28 20:15:04.120 UTC");
    expect(formatFullTime(at, "local")).not.toBe("");
  });
});

describe("the bar", () => {
  test("the tail begins at the earliest end, and the right edge is the latest", () => {
    const estimate = { remaining_s: 300, remaining_low_s: 240, remaining_high_s: 360, stalled: false };
    const shape = barOf(row("a", { progress: 62, estimate }));
    expect(shape.tail).toBeCloseTo(62 + 38 * (240 / 360));
    expect(shape.likely).toBeCloseTo(62 + 38 * (300 / 360));
  });

  test("without an estimate, when stalled and when away there is no tail", () => {
    const estimate = { remaining_s: 300, remaining_low_s: 240, remaining_high_s: 360, stalled: false };
    for (const facts of [{}, { estimate, stalled: true }, { estimate, presence: "away" as const }]) {
      expect(barOf(row("a", { progress: 62, ...facts })).tail).toBeUndefined();
    }
  });

  test("ticks stand where steps ended, and where the rest is planned", () => {
    const ticks = barOf(row("a", { progress: 62, step: 3, total_steps: 4, step_ends: [10, 40] })).ticks;
    expect(ticks).toEqual([10, 40, 75]);
    expect(barOf(row("a", { progress: 62, total_steps: 3 })).ticks.map(Math.round)).toEqual([67]);
    expect(barOf(row("a", { progress: 1, total_steps: 14 })).ticks).toEqual([]);
  });

  test("a running operation whose rest is unknown is open", () => {
    expect(barOf(row("a")).kind).toBe("open");
    expect(barOf(row("a", { indeterminate: true, progress: 4 })).kind).toBe("open");
    expect(barOf(row("a", { stalled: true })).kind).toBe("stalled");
    expect(barOf(row("a", { state: "failed" })).fill).toBeUndefined();
  });

  test("a percentage beyond its bounds stays inside the bar", () => {
    expect(barOf(row("a", { progress: 140 })).fill).toBe(100);
    expect(barOf(row("a", { progress: -4 })).fill).toBe(0);
  });
});

import { expect, test } from "vitest";
import type { LoggedEvent } from "../../src/pages/events/filter.ts";
import { type OmittedRow, sizeOf, Tail, type TailRow } from "../../src/pages/events/tail.ts";

function event(n: number, data: unknown = { n }): LoggedEvent {
  return {
    type: "data:update",
    timestamp: "2026-11-29T02:15:00Z",
    trace_id: "t",
    channel: "data",
    position: `e:${n}`,
    data,
  };
}

const texts = (rows: readonly TailRow[]) =>
  rows.map((row) => {
    if (row.kind === "event") return row.event.position;
    if (row.kind === "earlier") return `earlier ${row.until}`;
    return row.kind === "gap"
      ? `gap ${row.after}-${row.until}`
      : `${row.count} ${row.reason} ${row.after}-${row.until}`;
  });

function take(tail: Tail, from: number, to: number): void {
  for (let n = from; n <= to; n++) tail.take(event(n), true);
}

test("new events come in with a tick, the newest first", () => {
  const tail = new Tail();
  take(tail, 1, 3);
  expect(tail.rows).toEqual([]);
  expect(tail.tick()).toBe(true);
  expect(texts(tail.rows)).toEqual(["e:3", "e:2", "e:1"]);
  expect(tail.tick()).toBe(false);
});

test("what comes too fast is counted in a row that names its range", () => {
  const tail = new Tail({ drawnPerTick: 2 });
  tail.reached("e:0");
  take(tail, 1, 10);
  tail.tick();
  expect(texts(tail.rows)).toEqual(["e:10", "e:9", "8 too fast e:0-e:8"]);
  take(tail, 11, 13);
  tail.tick();
  expect(texts(tail.rows)).toEqual(["e:13", "e:12", "1 too fast e:10-e:11", "e:10", "e:9", "8 too fast e:0-e:8"]);
});

test("every event is either drawn or counted, at any speed", () => {
  const tail = new Tail({ drawnPerTick: 7, rows: 100_000 });
  tail.reached("e:0");
  let next = 1;
  for (const burst of [1, 2_500, 0, 7, 8, 2_500, 3]) {
    for (let count = 0; count < burst; count++) tail.take(event(next++), true);
    tail.tick();
  }
  const drawn = tail.rows.filter((row) => row.kind === "event").length;
  const omitted = tail.rows.reduce((sum, row) => sum + (row.kind === "omitted" ? (row.count ?? 0) : 0), 0);
  expect(drawn + omitted).toBe(next - 1);
});

test("memory is bounded in rows", () => {
  const tail = new Tail({ rows: 10 });
  for (let n = 1; n <= 100; n++) {
    tail.take(event(n), true);
    tail.tick();
  }
  expect(tail.rows).toHaveLength(10);
  expect(texts(tail.rows)[0]).toBe("e:100");
});

test("what leaves the page stays named below it, and reading back makes room", () => {
  const tail = new Tail({ rows: 3 });
  tail.nameEarlier("first", "e:10");
  take(tail, 11, 15);
  tail.tick();
  expect(texts(tail.rows)).toEqual(["e:15", "e:14", "e:13", "earlier e:12"]);
  tail.takeEarlier([event(9), event(10), event(11), event(12)], "e:8");
  expect(texts(tail.rows)).toEqual(["e:15", "e:14", "e:13", "e:12", "e:11", "e:10", "e:9", "earlier e:8"]);
  tail.takeEarlier([event(8)], null, { reason: "trimmed", after: "e:0", until: "e:7" });
  expect(texts(tail.rows).slice(-2)).toEqual(["e:8", "gap e:0-e:7"]);
});

test("memory is bounded in characters: large payloads leave sooner, the newest stays", () => {
  const tail = new Tail({ characters: 200_000 });
  for (let n = 1; n <= 20; n++) {
    tail.take(event(n, { text: "x".repeat(64_000) }), true);
    tail.tick();
  }
  expect(texts(tail.rows)).toEqual(["e:20", "e:19", "e:18"]);
  tail.take(event(21, { text: "x".repeat(900_000) }), true);
  tail.tick();
  expect(texts(tail.rows)).toEqual(["e:21"]);
  take(tail, 22, 30);
  tail.tick();
  expect(tail.rows.length).toBeGreaterThan(1);
});

test("a pause counts what comes and keeps none of it", () => {
  const tail = new Tail();
  take(tail, 1, 2);
  tail.pause();
  expect(texts(tail.rows)).toEqual(["e:2", "e:1"]);
  for (let n = 3; n <= 50_000; n++) tail.take(event(n), n % 2 === 0);
  expect(tail.tick()).toBe(false);
  expect(tail.rows).toHaveLength(2);
  expect(tail.waiting).toBe(24_999);
  expect(tail.resumeFrom).toBe("e:2");
});

test("going on reads from the position of the pause, page by page", () => {
  const tail = new Tail();
  take(tail, 1, 1);
  tail.pause();
  take(tail, 2, 5);
  tail.beginReading();
  tail.takeRead([event(2), event(3)], "e:3");
  expect(tail.waiting).toBe(2);
  expect(tail.resumeFrom).toBe("e:3");
  tail.takeRead([event(4), event(5)], "e:5");
  tail.follow(false);
  expect(texts(tail.rows)).toEqual(["e:5", "e:4", "e:3", "e:2", "e:1"]);
  expect(tail.mode).toBe("following");
  take(tail, 6, 6);
  tail.tick();
  expect(texts(tail.rows)[0]).toBe("e:6");
});

test("reading that stops leaves the rest waiting at its position", () => {
  const tail = new Tail();
  take(tail, 1, 1);
  tail.pause();
  take(tail, 2, 9);
  tail.beginReading();
  tail.takeRead([event(2)], "e:2");
  tail.stopReading();
  expect(tail.mode).toBe("paused");
  expect(tail.resumeFrom).toBe("e:2");
  expect(tail.waiting).toBe(7);
});

test("what is skipped is named, and the tail goes on behind it", () => {
  const tail = new Tail();
  take(tail, 1, 1);
  tail.pause();
  take(tail, 2, 9);
  tail.follow(true);
  take(tail, 10, 10);
  tail.tick();
  expect(texts(tail.rows)).toEqual(["e:10", "8 unread e:1-e:9", "e:1"]);
});

test("a pause with nothing missed is over without a row", () => {
  const tail = new Tail();
  take(tail, 1, 1);
  tail.pause();
  tail.follow(true);
  expect(texts(tail.rows)).toEqual(["e:1"]);
});

test("a gap and an overflow are rows in their place", () => {
  const tail = new Tail();
  take(tail, 1, 1);
  tail.takeGap({ reason: "trimmed", after: "e:1", until: "e:9" });
  take(tail, 10, 10);
  tail.takeOverflow({ after: "e:10", until: "e:400" });
  take(tail, 401, 401);
  tail.tick();
  expect(texts(tail.rows)).toEqual(["e:401", "null overflow e:10-e:400", "e:10", "gap e:1-e:9", "e:1"]);
});

test("an omitted range is filled in its place, and what is left of it stays named", () => {
  const tail = new Tail({ drawnPerTick: 1 });
  tail.reached("e:0");
  take(tail, 1, 5);
  tail.tick();
  const row = tail.rows[1] as OmittedRow;
  tail.fill(row, [event(1), event(2)], "e:2");
  expect(texts(tail.rows)).toEqual(["e:5", "2 too fast e:2-e:4", "e:2", "e:1"]);
  tail.fill(tail.rows[1] as OmittedRow, [event(3), event(4)], null);
  expect(texts(tail.rows)).toEqual(["e:5", "e:4", "e:3", "e:2", "e:1"]);
  tail.fill(row, [event(9)], null);
  expect(tail.rows).toHaveLength(5);
});

test("a tail that begins at a time begins paused there", () => {
  const tail = new Tail();
  tail.beginAt("2026-11-29T01:00:00Z");
  expect(tail.mode).toBe("paused");
  expect(tail.waiting).toBeNull();
  expect(tail.resumeFrom).toBe("2026-11-29T01:00:00Z");
  tail.beginReading();
  tail.takeRead([event(1)], "e:1", { reason: "trimmed", after: "e:0", until: "e:0" });
  expect(texts(tail.rows)).toEqual(["e:1", "gap e:0-e:0"]);
  tail.reached("e:9");
  tail.follow(true);
  expect(texts(tail.rows)[0]).toBe("null unread e:1-e:9");
  expect(tail.waiting).toBe(0);
});

test("events that do not match move the position and nothing else", () => {
  const tail = new Tail({ drawnPerTick: 1 });
  tail.reached("e:0");
  tail.take(event(1), false);
  tail.take(event(2), false);
  expect(tail.tick()).toBe(false);
  expect(tail.resumeFrom).toBe("e:2");
});

test("the size of a value is about that of its JSON", () => {
  const value = { a: [1, 2, "three"], b: { c: null, d: "x".repeat(1000) } };
  const written = JSON.stringify(value).length;
  expect(sizeOf(value)).toBeGreaterThan(written * 0.8);
  expect(sizeOf(value)).toBeLessThan(written * 1.5);
});

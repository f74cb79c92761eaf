import { expect, test } from "vitest";
import { describeEvent, formatBytes, toneOf } from "../../src/pages/events/describe.ts";

test.each([
  ["operation:start", { name: "Deploy docs", queued: true }, "Deploy docs, queued"],
  ["operation:start", { name: "Import", attempt: 3 }, "Import, 3rd attempt"],
  ["operation:progress", { progress: 62.9, current_step: "parse", total_steps: 3 }, "62%, parse"],
  ["operation:progress", { progress: 0, indeterminate: true, message: "38,412 pages so far" }, "38,412 pages so far"],
  ["operation:log", { message: "3 rows without a currency", level: "warning" }, "warning: 3 rows without a currency"],
  ["operation:log", { message: "hello" }, "info: hello"],
  [
    "operation:estimate",
    { stalled: false, remaining_s: 300, remaining_low_s: 240, remaining_high_s: 360 },
    "4 to 6 min left",
  ],
  ["operation:estimate", { stalled: true }, "stalled"],
  ["operation:estimate", { operation_id: "op-1" }, "no estimate"],
  [
    "system:metrics",
    { window_s: 60, metrics: { events_per_s: 0.48271, gaps: 0, label: "x" } },
    "events_per_s 0.483, gaps 0",
  ],
  ["operation:complete", { message: "1,204 rows", duration_ms: 38_000 }, "1,204 rows, took 38 s"],
  ["operation:complete", { operation_id: "op-1" }, ""],
  ["operation:failed", { code: "boom", message: "it broke" }, "boom: it broke"],
  ["operation:cancelled", { cancelled_by: "ops", reason: "wrong file" }, "by ops: wrong file"],
  ["data:update", { dataset: "prices", records: 1200 }, "1,200 records"],
  ["report:ready", { name: "pnl", size_bytes: 412_000, format: "pdf" }, "pnl, 412 KB, pdf"],
  ["system:status", { status: "healthy", active_operations: 12, metrics: null }, "healthy, 12 active operations"],
  ["system:alert", { state: "cleared", message: "40 % left" }, "cleared: 40 % left"],
  [
    "trade:executed",
    { venue: "XETR", price: 241.35, tags: ["a", null, true] },
    '{"venue":"XETR","price":241.35,"tags":["a",null,true]}',
  ],
  ["trade:executed", null, ""],
  ["data:update", { dataset: "prices" }, '{"dataset":"prices"}'],
])("%s %j says %s", (type, data, expected) => {
  expect(describeEvent({ type, data })).toBe(expected);
});

test("values of the wrong type are not trusted", () => {
  for (const data of [
    null,
    1,
    "text",
    [],
    { progress: "62", message: {}, name: 1, code: [] },
    { duration_ms: Number.POSITIVE_INFINITY },
  ]) {
    for (const type of [
      "operation:start",
      "operation:progress",
      "operation:complete",
      "system:alert",
      "data:update",
      "toString",
    ]) {
      expect(typeof describeEvent({ type, data })).toBe("string");
      expect(toneOf({ type, data })).toBe("plain");
    }
  }
});

test("a payload of 64 KB is cut without being written", () => {
  const data = { rows: Array.from({ length: 9_000 }, (_, index) => index), text: "y".repeat(60_000) };
  expect(describeEvent({ type: "trade:executed", data })).toHaveLength(301);
});

test("text cannot break the line, hide, or turn the words around it", () => {
  const message = "a\nb\u202eevil\u0000\u001b[31m<img src=x onerror=alert(1)>";
  const said = describeEvent({ type: "operation:log", data: { message } });
  expect(said).not.toMatch(/[\p{Cc}\u202e]/u);
  expect(said).toContain("<img src=x");
});

test("trouble is loud", () => {
  expect(toneOf({ type: "operation:failed", data: {} })).toBe("failed");
  expect(toneOf({ type: "operation:log", data: { level: "warning" } })).toBe("warn");
  expect(toneOf({ type: "system:alert", data: { severity: "critical" } })).toBe("failed");
  expect(toneOf({ type: "system:alert", data: { severity: "critical", state: "cleared" } })).toBe("plain");
  expect(toneOf({ type: "system:status", data: { status: "degraded" } })).toBe("warn");
});

test("sizes are read by people", () => {
  expect([1, 999, 1_000, 412_000, 3_100_000_000].map(formatBytes)).toEqual([
    "1 byte",
    "999 bytes",
    "1 KB",
    "412 KB",
    "3.1 GB",
  ]);
});

import { expect, test } from "vitest";
import type { Row } from "../../src/format/row.ts";
import type { LoggedEvent } from "../../src/pages/events/filter.ts";
import { type Alerts, foldAlert, listAlerts } from "../../src/pages/system/alerts.ts";
import {
  type ClientFacts,
  describeLogAge,
  describePaths,
  describeWork,
  describeWorker,
  figuresOf,
  healthOf,
  pointsOf,
  producerRows,
} from "../../src/pages/system/facts.ts";
import { Figures } from "../../src/pages/system/figures.ts";

const NOW = Date.parse("2026-11-29T02:15:00Z");

function alert(secondsAgo: number, data: object): LoggedEvent {
  const timestamp = new Date(NOW - secondsAgo * 1000).toISOString();
  return { type: "system:alert", timestamp, trace_id: "t", channel: "system", position: `e:${secondsAgo}`, data };
}
const DISK = { alert_id: "disk", severity: "warning", code: "disk_low", message: "8 % left", recoverable: true };
const fold = (...events: LoggedEvent[]) => events.reduce<Alerts>(foldAlert, new Map());

test("an alert is raised until it is cleared, and says both", () => {
  const raised = fold(alert(100, DISK), alert(50, { ...DISK, message: "5 % left" }));
  expect(listAlerts(raised, NOW)).toMatchObject([{ state: "raised", message: "5 % left", raisedAt: NOW - 100_000 }]);
  const cleared = foldAlert(raised, alert(10, { ...DISK, state: "cleared", message: "40 % left" }));
  expect(listAlerts(cleared, NOW)).toMatchObject([
    { state: "cleared", message: "5 % left", cleared: "40 % left", clearedAt: NOW - 10_000 },
  ]);
});

test("what the snapshot brings again does not raise what the history has cleared", () => {
  const cleared = alert(10, { ...DISK, state: "cleared" });
  const alerts = fold(alert(100, DISK), cleared, alert(100, DISK), cleared);
  expect(listAlerts(alerts, NOW)).toMatchObject([{ state: "cleared" }]);
  expect(listAlerts(foldAlert(alerts, alert(5, DISK)), NOW)).toMatchObject([
    { state: "raised", raisedAt: NOW - 5_000 },
  ]);
});

test("an alert that was cleared more than a day ago is not listed", () => {
  expect(listAlerts(fold(alert(90_000, { ...DISK, state: "cleared" })), NOW)).toEqual([]);
});

test("the gravest alerts come first, cleared ones last", () => {
  const alerts = fold(
    alert(9, { ...DISK, alert_id: "a", state: "cleared" }),
    alert(8, { ...DISK, alert_id: "b", severity: "info" }),
    alert(7, { ...DISK, alert_id: "c", severity: "critical" }),
    alert(6, { ...DISK, alert_id: "d" }),
  );
  expect(listAlerts(alerts, NOW).map((each) => each.key)).toEqual(["c", "d", "b", "a"]);
});

test("alerts without an id are told apart by code and operation", () => {
  const { alert_id: _, ...anonymous } = DISK;
  const alerts = fold(
    alert(3, { ...anonymous, operation_id: "op-1" }),
    alert(2, { ...anonymous, operation_id: "op-2" }),
  );
  expect([...alerts.keys()]).toEqual(["disk_low:op-1", "disk_low:op-2"]);
});

test("memory of alerts is bounded; raised ones stay", () => {
  let alerts: Alerts = fold(alert(1_000, DISK));
  for (let n = 0; n < 2_000; n++)
    alerts = foldAlert(alerts, alert(900, { ...DISK, alert_id: `x${n}`, state: "cleared" }));
  expect(alerts.size).toBe(500);
  expect(alerts.get("disk")?.state).toBe("raised");
});

test("samples are points that end at their time", () => {
  const points = pointsOf({ interval_s: 60, until: "2026-11-29T02:15:00Z", events_per_s: [1, 2, 3], connections: [7] });
  expect(points.map((point) => point.at)).toEqual([NOW / 1000 - 120, NOW / 1000 - 60, NOW / 1000]);
  expect(points.map((point) => point.values.connections)).toEqual([null, null, 7]);
  expect(pointsOf({ interval_s: 0, until: "x" })).toEqual([]);
});

test("figures go on from events until newer samples hold them", () => {
  const figures = new Figures();
  const until = "2026-11-29T02:15:00Z";
  figures.take({ interval_s: 60, until, connections: [5, 6], events_per_s: [10, 20] });
  figures.add(NOW / 1000 + 10, { connections: 9 });
  figures.add(NOW / 1000 - 500, { connections: 99 });
  expect(figures.columns("connections", 0, 1e12)[1]).toEqual([5, 6, 9]);
  expect(figures.columns("events_per_s", 0, 1e12)[1]).toEqual([10, 20, 20]);
  figures.take({ interval_s: 60, until: "2026-11-29T02:16:00Z", connections: [5, 6, 8] });
  expect(figures.columns("connections", 0, 1e12)[1]).toEqual([5, 6, 8]);
  figures.take(undefined);
  expect(figures.newest("connections")).toBe(8);
});

test("only the hub's own events are its figures", () => {
  const metrics = { connections: 3, catching_up: 0, log_bytes: 100 };
  const values = figuresOf("system:status", { source: "tidings", active_operations: 4, metrics });
  expect(values).toEqual({ ...metrics, live_operations: 4 });
  expect(figuresOf("system:status", { source: "billing", metrics })).toBeNull();
  expect(figuresOf("system:metrics", { source: "tidings", metrics: null })).toEqual({
    events_per_s: null,
    writes_per_s: null,
  });
});

test("a hub that is not ready is degraded, whatever it said before", () => {
  expect(healthOf(undefined, undefined)).toBe("");
  expect(healthOf({ version: "1" }, "healthy")).toBe("healthy");
  expect(healthOf({ version: "1", ready: false }, "healthy")).toBe("degraded");
  expect(healthOf({ version: "1" }, "degraded")).toBe("degraded");
});

test("producers are joined with what they hold, absent ones first", () => {
  const row = (operation_id: string, producer_id: string, more: object = {}) =>
    ({ operation_id, name: operation_id.toUpperCase(), state: "running", producer_id, heard_at: "t", ...more }) as Row;
  const rows = producerRows(
    [
      { producer_id: "p1", presence: "attached", operations: 2, lease_s: 30 },
      { producer_id: "p2", presence: "away", operations: 0, since: "s" },
    ],
    [
      row("b", "p1", { host: "w1" }),
      row("a", "p1"),
      row("x", "p3", { presence: "away", away_since: "q" }),
      row("z", "p1", { state: "complete" }),
    ],
  );
  expect(rows).toEqual([
    { producerId: "p2", host: "", presence: "away", holds: [], leaseS: undefined, heardAt: "s" },
    { producerId: "p3", host: "", presence: "away", holds: ["X"], leaseS: undefined, heardAt: "q" },
    { producerId: "p1", host: "w1", presence: "attached", holds: ["A", "B"], leaseS: 30, heardAt: "t" },
  ]);
});

test("the hub's work is a sentence", () => {
  expect(describeWork({ version: "1", operations: { live: 12 }, connections: { open: 1 } })).toBe(
    "12 operations are live, 1 connection is open",
  );
  expect(describeLogAge("2026-11-23T02:15:00Z", NOW)).toBe("The log reaches back 6 days");
  expect(describeLogAge(undefined, NOW)).toBe("");
});

test("the paths of a client are named without what everyone receives, and counted beyond five", () => {
  const reads = (paths: string[], path_count?: number) =>
    describePaths({ connection_id: "c", kind: "websocket", state: "live", paths, path_count } as ClientFacts);
  expect(reads([])).toBe("nothing");
  expect(reads(["data/a", "global"])).toBe("data/a");
  expect(reads(["global"])).toBe("global");
  expect(reads(["a/1", "a/2", "a/3", "a/4", "a/5"], 40)).toBe("a/1, a/2, a/3, a/4, a/5, and 35 more");
});

test.each([
  [{ source: "worker-1", ready: true, pid: 7, behind_events: 0 }, "ready", "healthy"],
  [{ source: "worker-1", ready: false, pid: 7, code: "disk_full" }, "not ready: disk_full", "degraded"],
  [{ source: "worker-1", ready: false, pid: 7 }, "not ready", "degraded"],
  [{ source: "worker-1", ready: false }, "does not answer", "degraded"],
] as const)("a worker %j is %s, and the hub %s", (worker, words, health) => {
  expect(describeWorker(worker)).toBe(words);
  const others = [{ source: "worker-2", ready: true, pid: 8 }];
  expect(healthOf({ version: "1", ready: true, workers: [worker, ...others] }, "healthy")).toBe(health);
});

/** Alerts: which are raised, and which were cleared lately. Pure. */

import { toMillis } from "../../format/time.ts";
import { asObject, keyOf, type LoggedEvent } from "../events/filter.ts";

/** One alert. */
export interface Alert {
  /** Its id; without one, its code, or code and operation. */
  readonly key: string;
  readonly code: string;
  readonly operationId: string;
  readonly severity: "info" | "warning" | "critical";
  readonly state: "raised" | "cleared";
  /** What it said when it was raised; "" if the log no longer has that. */
  readonly message: string;
  readonly hint: string;
  /** What it said when it was cleared. */
  readonly cleared: string;
  /** When it was raised first, and when it was cleared, in milliseconds since 1970. */
  readonly raisedAt: number | undefined;
  readonly clearedAt: number | undefined;
}

/** Alerts by key. */
export type Alerts = ReadonlyMap<string, Alert>;

/** Alerts that are remembered; the oldest cleared ones leave first. */
const MAX_ALERTS = 500;

const SEVERITIES = ["critical", "warning", "info"] as const;

/** Return the alerts after an event; the same ones if it changes nothing. Events come in log order, some twice. */
export function foldAlert(alerts: Alerts, event: LoggedEvent): Alerts {
  if (event.type !== "system:alert") return alerts;
  const data = asObject(event.data);
  const key = keyOf(event);
  const at = toMillis(event.timestamp);
  const before = alerts.get(key);
  const changed = new Map(alerts);
  changed.delete(key);
  if (data["state"] === "cleared") {
    if (before?.state === "cleared" && (before.clearedAt ?? 0) >= (at ?? 0)) return alerts;
    const known = before ?? makeAlert(key, data, undefined);
    const message = before === undefined ? "" : known.message;
    changed.set(key, { ...known, message, state: "cleared", cleared: textOf(data["message"]), clearedAt: at });
  } else {
    // A snapshot brings a raised alert again, which may have been cleared since by the history.
    if (before?.state === "cleared" && (before.clearedAt ?? 0) >= (at ?? 0)) return alerts;
    const raisedAt = before?.state === "raised" ? (before.raisedAt ?? at) : at;
    changed.set(key, makeAlert(key, data, raisedAt));
  }
  return bounded(changed);
}

function makeAlert(key: string, data: Readonly<Record<string, unknown>>, raisedAt: number | undefined): Alert {
  return {
    key,
    code: textOf(data["code"]),
    operationId: textOf(data["operation_id"]),
    severity: SEVERITIES.find((each) => each === data["severity"]) ?? "warning",
    state: "raised",
    message: textOf(data["message"]),
    hint: textOf(data["hint"]),
    cleared: "",
    raisedAt,
    clearedAt: undefined,
  };
}

function bounded(alerts: Map<string, Alert>): Alerts {
  for (const [key, alert] of alerts) {
    if (alerts.size <= MAX_ALERTS) break;
    if (alert.state === "cleared") alerts.delete(key);
  }
  return alerts;
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** Milliseconds for which a cleared alert is listed: a day. */
export const CLEARED_MS = 86_400_000;

/** Return the alerts to list: raised ones first, the gravest and then the newest first, and those cleared in a day. */
export function listAlerts(alerts: Alerts, now: number): Alert[] {
  const shown = [...alerts.values()].filter(
    (alert) => alert.state === "raised" || now - (alert.clearedAt ?? 0) <= CLEARED_MS,
  );
  return shown.sort((a, b) => {
    if (a.state !== b.state) return a.state === "raised" ? -1 : 1;
    if (a.state === "cleared") return (b.clearedAt ?? 0) - (a.clearedAt ?? 0);
    const grave = SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity);
    return grave !== 0 ? grave : (b.raisedAt ?? 0) - (a.raisedAt ?? 0);
  });
}

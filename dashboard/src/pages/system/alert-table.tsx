/** Alerts: those that are raised, and those that were cleared in the last day. */

import { type ReadonlySignal, useComputed, useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { now } from "../../clock.ts";
import { counted } from "../../format/span.ts";
import { plain } from "../../format/text.ts";
import { Age } from "../../parts/age.tsx";
import { Icon } from "../../parts/icon.tsx";
import { type ColumnHead, ListHead } from "../../parts/list-head.tsx";
import { Go, hrefOf } from "../../router.tsx";
import { type Alert, type Alerts, listAlerts } from "./alerts.ts";

/** Cleared alerts that are listed at first. */
const MAX_CLEARED = 5;

const COLUMNS: readonly ColumnHead[] = [
  { label: "Severity", isHidden: true },
  { label: "Alert" },
  { label: "What it says" },
  { label: "Since", class: "num" },
  { label: "State", class: "c-o" },
];

/** The table; nothing but a line if there is no alert. */
export function AlertTable({ alerts }: { readonly alerts: ReadonlySignal<Alerts> }): JSX.Element {
  const isWhole = useSignal(false);
  const listed = useComputed(() => listAlerts(alerts.value, now.value)).value;
  const raised = listed.filter((each) => each.state === "raised").length;
  const cleared = listed.length - raised;
  const shown = isWhole.value ? listed : listed.slice(0, raised + MAX_CLEARED);
  return (
    <section aria-label="Alerts">
      <div class="h-sec">
        <h2>Alerts</h2>
        <span class="three">
          {listed.length === 0
            ? "none is raised, and none was cleared in 24 h"
            : `${raised} raised, ${cleared} cleared in 24 h`}
        </span>
      </div>
      {listed.length === 0 ? null : (
        <div class="list alerts frozen" role="table" aria-label="Alerts" aria-rowcount={listed.length + 1}>
          <ListHead columns={COLUMNS} />
          {shown.map((alert, index) => (
            <AlertRow key={alert.key} alert={alert} index={index + 2} />
          ))}
        </div>
      )}
      {shown.length < listed.length ? (
        <p class="more">
          <button
            type="button"
            class="btn"
            onClick={() => {
              isWhole.value = true;
            }}
          >
            Show all {counted(listed.length, "alert")}
          </button>
        </p>
      ) : null}
    </section>
  );
}

function AlertRow({ alert, index }: { readonly alert: Alert; readonly index: number }): JSX.Element {
  const isRaised = alert.state === "raised";
  const at = isRaised ? alert.raisedAt : alert.clearedAt;
  const href =
    alert.operationId === ""
      ? hrefOf("events", { channel: "system", type: "system:alert", key: alert.key, since: "24h" })
      : hrefOf("operation", { id: alert.operationId });
  const tone = alert.severity === "critical" ? "say-failed" : alert.severity === "warning" ? "say-warn" : "two";
  return (
    <div class="lrow" role="row" aria-rowindex={index}>
      <div class="c-i" role="cell">
        <span class="sr">{isRaised ? alert.severity : "cleared"}</span>
        {isRaised ? (
          <Icon
            name={alert.severity === "critical" ? "failed" : "warning"}
            class={alert.severity === "critical" ? "s-failed" : alert.severity === "warning" ? "s-stalled" : "s-queued"}
          />
        ) : (
          <Icon name="complete" class="s-cancelled" />
        )}
      </div>
      <div class="c-c who" role="cell">
        <Go class="name cut" href={href}>
          {plain(alert.code)}
        </Go>
        <span class="id cut">{plain(alert.operationId || idOf(alert))}</span>
      </div>
      <div class="c-m two" role="cell" title={plain(alert.message)}>
        <bdi>{sayOf(alert)}</bdi>
      </div>
      <div class="c-a num two" role="cell">
        {at === undefined ? "" : <Age at={at} />}
      </div>
      <div class={`c-o ${isRaised ? tone : "two"}`} role="cell">
        {isRaised ? alert.severity : "cleared"}
      </div>
    </div>
  );
}

/** The id of an alert, where it says more than its code. */
function idOf(alert: Alert): string {
  return alert.key === alert.code ? "" : alert.key;
}

function sayOf(alert: Alert): string {
  const message = plain(alert.message);
  if (alert.state === "raised") {
    const hint = plain(alert.hint);
    return hint === "" ? message : `${message}${/[.!?]$/u.test(message) ? "" : "."} ${hint}`;
  }
  const cleared = plain(alert.cleared);
  if (message === "") return cleared === "" ? "cleared" : `cleared: ${cleared}`;
  return cleared === "" || cleared === message ? message : `${message}; cleared: ${cleared}`;
}

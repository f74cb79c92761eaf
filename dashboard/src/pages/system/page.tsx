/** The System page: how the hub is, what it asks for, and its figures. */

import { type ReadonlySignal, useComputed, useSignal, useSignalEffect } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import type { WatchItem } from "tidings";
import { now } from "../../clock.ts";
import { counted, formatSpan } from "../../format/span.ts";
import { plain } from "../../format/text.ts";
import { formatTime, toMillis } from "../../format/time.ts";
import { connection, hub } from "../../hub.ts";
import { usePageTitle } from "../../page-title.ts";
import { Hint } from "../../parts/hint.tsx";
import { StateIcon } from "../../parts/icon.tsx";
import { Lock } from "../../parts/lock.tsx";
import { PanelError, Skeleton } from "../../parts/panel.tsx";
import { type Resource, useResource } from "../../parts/resource.ts";
import { useQuery } from "../../router.tsx";
import { mayDo, whoami } from "../../session.ts";
import { zone } from "../../settings.ts";
import { asObject } from "../events/filter.ts";
import type { HistoryAnswer } from "../events/reader.ts";
import { AlertTable } from "./alert-table.tsx";
import { type Alerts, CLEARED_MS, foldAlert, listAlerts } from "./alerts.ts";
import { Charts, readHours } from "./charts.tsx";
import { describeLogAge, describeWork, figuresOf, healthOf, type SystemFacts } from "./facts.ts";
import { Figures } from "./figures.ts";
import { Nodes } from "./nodes.tsx";
import { Clients, LogFacts, Producers, Sessions, Versions } from "./tables.tsx";
import { Workers } from "./workers.tsx";
import "./system.css";

/** The page. */
export function SystemPage(): JSX.Element {
  usePageTitle("System");
  // Without the right to read it, asking would only be refused.
  if (whoami.value === undefined) return <Skeleton label="Loading the state of the hub" />;
  if (!mayDo("read", "system")) {
    return (
      <div class="head">
        <h1>System</h1>
        <p class="sentence">
          <Lock grant="read system" what="Seeing the system" />
        </p>
      </div>
    );
  }
  return <System />;
}

function System(): JSX.Element {
  const hours = readHours(useQuery().get("hours"));
  const facts = useResource(
    (signal) => hub.request<SystemFacts>("v1/system", { signal, query: { samples: hours * 60 } }),
    `system ${hours}`,
  );
  const { alerts, status, figures, version } = useSystemEvents(facts);
  const value = facts.value.value;
  return (
    <>
      <Head facts={value} alerts={alerts} status={status.value} isUnread={facts.error.value !== undefined} />
      {facts.error.value === undefined ? null : (
        <PanelError what="the state of the hub" error={facts.error.value} onRetry={facts.reload} />
      )}
      {value === undefined && facts.error.value === undefined ? (
        <Skeleton label="Loading the state of the hub" />
      ) : null}
      <AlertTable alerts={alerts} />
      <Charts figures={figures} version={version} hours={hours} limit={value?.log?.retention?.bytes} />
      {value === undefined ? null : (
        <>
          <Nodes nodes={value.nodes} />
          <Workers workers={value.workers} clients={value.clients} />
          <Producers producers={value.producers ?? []} />
          <Clients clients={value.clients} counts={value.connections ?? {}} hasWorkers={value.workers !== undefined} />
        </>
      )}
      <Sessions isAdmin={mayDo("admin")} identifies={whoami.value?.identifies === true} />
      <LogFacts facts={value} />
      <Versions facts={value} />
    </>
  );
}

interface SystemEvents {
  readonly alerts: ReadonlySignal<Alerts>;
  /** What the hub said of itself last: `healthy` or `degraded`. */
  readonly status: ReadonlySignal<string | undefined>;
  readonly figures: Figures;
  /** Grows with each change of the figures. */
  readonly version: ReadonlySignal<number>;
}

/** Follow the events of the channel `system`; each report of the hub loads its facts again. */
function useSystemEvents(facts: Resource<SystemFacts>): SystemEvents {
  const alerts = useSignal<Alerts>(new Map());
  const status = useSignal<string | undefined>(undefined);
  const version = useSignal(0);
  const figures = useMemo(() => new Figures(), []);
  const gaps = useSignal(0);
  useEffect(() => {
    let isLive = false;
    // After a gap, what was raised may have been cleared, or be of a log that the hub no longer has.
    alerts.value = new Map();
    const take = (item: WatchItem) => {
      if (item.type === "channel:live") isLive = true;
      if (item.type === "channel:gap") gaps.value++;
      if (!("position" in item)) return;
      alerts.value = foldAlert(alerts.peek(), item);
      if (item.type !== "system:status" && item.type !== "system:metrics") return;
      const data = asObject(item.data);
      const values = figuresOf(item.type, data);
      // Each worker reports on its own, so that one that hangs does not keep the others' state from the page.
      const isOfHub = values !== null && item.type === "system:status";
      const isOfWorker = facts.value.peek()?.workers?.some(({ source }) => source === data["source"]) === true;
      if (isLive && (isOfHub || isOfWorker) && document.visibilityState === "visible") facts.reload();
      if (values === null) return;
      if (item.type === "system:status" && typeof data["status"] === "string") status.value = data["status"];
      figures.add((toMillis(item.timestamp) ?? 0) / 1000, values);
      version.value++;
    };
    const abort = new AbortController();
    void readHistory(abort.signal).then((events) => {
      for (const event of events) alerts.value = foldAlert(alerts.peek(), event);
    });
    const stop = hub.watch(["system"], take, { since: "snapshot" });
    return () => {
      abort.abort();
      stop();
    };
  }, [alerts, status, figures, version, facts, gaps.value]);
  useSignalEffect(() => {
    figures.take(facts.value.value?.samples);
    version.value = version.peek() + 1;
  });
  return { alerts, status, figures, version };
}

/** Alerts of the last day; without them the page has those that are raised. */
async function readHistory(signal: AbortSignal): Promise<HistoryAnswer["events"]> {
  const since = new Date(hub.clock.now() - CLEARED_MS).toISOString();
  const query = { channel: "system", type: "system:alert", since, limit: 1_000 };
  try {
    return (await hub.request<HistoryAnswer>("v1/events", { query, signal })).events;
  } catch {
    return [];
  }
}

interface HeadProps {
  readonly facts: SystemFacts | undefined;
  readonly alerts: ReadonlySignal<Alerts>;
  readonly status: string | undefined;
  /** Whether the state of the hub could not be read: it says nothing of its health then. */
  readonly isUnread: boolean;
}

function Head({ facts, alerts, status, isUnread }: HeadProps): JSX.Element {
  const raised = useComputed(
    () => listAlerts(alerts.value, now.value).filter((each) => each.state === "raised").length,
  );
  const health = isUnread ? "" : healthOf(facts, status);
  const uptime = facts?.started_at === undefined ? undefined : (now.value - Date.parse(facts.started_at)) / 1000;
  return (
    <div class="head frozen">
      <div class="title">
        {health === "" ? null : <StateIcon look={health === "healthy" ? "complete" : "failed"} />}
        <h1>{health === "" ? "System" : health === "healthy" ? "Healthy" : "Degraded"}</h1>
        <span class="grow" />
        <span class="bits not-phone">
          {facts === undefined ? null : (
            <span>
              hub <b>{facts.version}</b>
            </span>
          )}
          {facts?.contract === undefined ? null : (
            <span>
              contract <b>{facts.contract.version}</b>
            </span>
          )}
          {uptime === undefined ? null : (
            <span>
              up <b>{formatSpan(Math.max(0, uptime))}</b>
            </span>
          )}
        </span>
      </div>
      {facts === undefined ? null : (
        <p class="sentence">
          {describeWork(facts)},{" "}
          {raised.value === 0 ? "no alert is raised" : <b>{counted(raised.value, "alert is", "alerts are")} raised</b>}.{" "}
          <LogSentence firstAt={facts.log?.first_at} />
        </p>
      )}
      {facts?.error === undefined ? null : (
        <div class="error-note">
          <p>
            <code>{plain(facts.error.code)}</code> {plain(facts.error.message)}
          </p>
          {facts.error.hint ? (
            <p>
              <b>What to do:</b> <Hint text={facts.error.hint} />
            </p>
          ) : null}
        </div>
      )}
      {connection.value.transport === "sse" ? (
        <p class="two">WebSocket does not get through to this browser: events come as a stream over HTTP.</p>
      ) : null}
    </div>
  );
}

function LogSentence({ firstAt }: { readonly firstAt: string | undefined }): JSX.Element | null {
  const first = toMillis(firstAt);
  if (first === undefined) return null;
  return (
    <>
      {describeLogAge(firstAt, now.value)}; its oldest event is of {formatTime(first, zone.value, now.value)}.
    </>
  );
}

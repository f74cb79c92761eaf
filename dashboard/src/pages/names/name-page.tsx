/** One name: its figures, its last runs, and a list of them. */

import { useComputed } from "@preact/signals";
import type { JSX } from "preact";
import { now } from "../../clock.ts";
import { ageOf, errorOf, isLive, lookOf, messageOf, remainingOf } from "../../format/operation.ts";
import type { Row } from "../../format/row.ts";
import { counted, formatPreciseSpan, formatSpan, grouped } from "../../format/span.ts";
import { plain } from "../../format/text.ts";
import { hub } from "../../hub.ts";
import { liveRows } from "../../live.ts";
import { usePageTitle } from "../../page-title.ts";
import { Age } from "../../parts/age.tsx";
import { StateIcon } from "../../parts/icon.tsx";
import { type ColumnHead, ListHead } from "../../parts/list-head.tsx";
import { PanelError, Skeleton } from "../../parts/panel.tsx";
import { useResource } from "../../parts/resource.ts";
import { Go, hrefOf, useQuery } from "../../router.tsx";
import { type NameRow, type NameView, nameRows } from "./rows.ts";
import { StripKey, StripView } from "./strip-view.tsx";
import "./names.css";

/** Runs that are listed. */
const RUNS = 50;

/** The page. */
export function NamePage(): JSX.Element {
  const name = useQuery().get("name") ?? "";
  usePageTitle(name);
  return <Name key={name} name={name} />;
}

interface Loaded {
  readonly view: NameView;
  readonly runs: readonly Row[];
}

async function load(name: string, signal: AbortSignal): Promise<Loaded> {
  const [names, page] = await Promise.all([
    hub.request<{ readonly names: readonly NameView[] }>("v1/operation-names", { signal, query: { name } }),
    hub.request<{ readonly operations: readonly Row[] }>("v1/operations", { signal, query: { name, limit: RUNS } }),
  ]);
  // `*` at the end of a name is a pattern for the hub.
  const view = names.names.find((each) => each.name === name) ?? { name, runs: 0, failed: 0 };
  return { view, runs: page.operations.filter((each) => each.name === name) };
}

function Name({ name }: { readonly name: string }): JSX.Element {
  const ended = useComputed(() => endedOf(name));
  const loaded = useResource((signal) => load(name, signal), `${name} ${ended.value}`);
  const value = loaded.value.value;
  const row = useComputed(() => {
    const views = loaded.value.value === undefined ? [] : [loaded.value.value.view];
    const [row] = nameRows(views, ofName(name), now.value);
    return row !== undefined && row.ended + row.live > 0 ? row : undefined;
  }).value;
  const runs = useComputed(() => withLive(loaded.value.value?.runs ?? [], name)).value;
  return (
    <>
      <div class="head">
        <p class="crumb">
          <Go href={hrefOf("names")}>Names</Go> / {plain(name)}
        </p>
        <div class="title">
          {row === undefined ? null : <StateIcon look={row.look} />}
          <h1 class="cut">{plain(name)}</h1>
          <span class="grow" />
          <Go class="btn" href={hrefOf("operations", { name })}>
            Show in the list
          </Go>
        </div>
        {row === undefined ? null : <p class="sentence">{sentenceOf(row)}</p>}
      </div>
      {loaded.error.value === undefined ? null : (
        <PanelError what="the runs" error={loaded.error.value} onRetry={loaded.reload} />
      )}
      {row === undefined || row.runs.length === 0 ? null : (
        <section class="sec" aria-label="Durations of the last runs">
          <header>
            <h2>Last runs</h2>
            <span class="note">the newest on the right; height is duration</span>
            <StripKey />
          </header>
          <div class="strip-large frozen">
            <StripView runs={row.runs} medianS={row.medianS} label={row.strip} />
          </div>
        </section>
      )}
      {value === undefined && loaded.error.value === undefined ? <Skeleton label="Loading the runs" /> : null}
      {value !== undefined && runs.length === 0 ? (
        <div class="empty">
          <p>
            <b>The hub has no run of this name.</b> It may never have run here, or its runs are no longer kept.
          </p>
        </div>
      ) : null}
      {runs.length === 0 ? null : <Runs runs={runs} />}
    </>
  );
}

const COLUMNS: readonly ColumnHead[] = [
  { label: "State", isHidden: true },
  { label: "Run" },
  { label: "What it says" },
  { label: "Duration", class: "num" },
  { label: "Age", class: "num" },
];

function Runs({ runs }: { readonly runs: readonly Row[] }): JSX.Element {
  return (
    <div class="list runs frozen" role="table" aria-label="Runs" aria-rowcount={runs.length + 1}>
      <ListHead columns={COLUMNS} />
      {runs.map((run, index) => (
        <RunRow key={run.operation_id} run={run} index={index + 2} />
      ))}
    </div>
  );
}

function RunRow({ run, index }: { readonly run: Row; readonly index: number }): JSX.Element {
  const look = lookOf(run);
  const said = look === "failed" ? errorOf(run) : messageOf(run, now.value);
  const loud = look === "failed" ? " say-failed" : look === "stalled" || look === "away" ? " say-warn" : " two";
  return (
    <div class="lrow" role="row" aria-rowindex={index}>
      <div class="c-icon" role="cell">
        <StateIcon look={look} />
      </div>
      <div class="c-who who" role="cell">
        <Go class="name cut mono" href={hrefOf("operation", { id: run.operation_id })}>
          {plain(run.operation_id)}
        </Go>
      </div>
      <div class={`c-say cut${loud}`} role="cell">
        <bdi>{said}</bdi>
      </div>
      <div class="c-took num" role="cell">
        {isLive(run) ? remainingOf(run) : run.duration_s === undefined ? "" : formatPreciseSpan(run.duration_s)}
      </div>
      <div class="c-age num two" role="cell">
        {run.ended_at === undefined ? ageOf(run, now.value) : <Age at={run.ended_at} />}
      </div>
    </div>
  );
}

function* ofName(name: string): Iterable<Row> {
  for (const row of liveRows.peek().values()) if (row.name === name) yield row;
}

/** Changes whenever a run of the name ends: then the hub knows more. */
function endedOf(name: string): number {
  let ended = 0;
  for (const row of liveRows.value.values()) if (row.name === name && !isLive(row)) ended++;
  return ended;
}

/** The runs as the hub listed them, with what came since; the newest first. */
function withLive(listed: readonly Row[], name: string): readonly Row[] {
  const known = new Map(listed.map((row) => [row.operation_id, row]));
  const fresh: Row[] = [];
  for (const row of liveRows.value.values()) {
    if (row.name !== name) continue;
    if (!known.has(row.operation_id)) fresh.push(row);
    known.set(row.operation_id, row);
  }
  fresh.sort((a, b) => ((a.started_at ?? a.heard_at) < (b.started_at ?? b.heard_at) ? 1 : -1));
  return [...fresh, ...listed].map((row) => known.get(row.operation_id) ?? row);
}

function sentenceOf(row: NameRow): string {
  const parts: string[] = [];
  if (row.medianS !== undefined) parts.push(`Usually takes ${formatSpan(row.medianS)}`);
  if (row.p95S !== undefined && row.medianS !== undefined) parts.push(`19 in 20 runs under ${formatSpan(row.p95S)}`);
  const runs =
    row.ended === 0 ? "" : `${counted(row.ended, "run")}, ${row.failed === 0 ? "none" : grouped(row.failed)} failed`;
  const trend = row.trend.text === "" ? "" : ` Lately: ${row.trend.text}.`;
  const figures = [parts.join("; "), runs].filter((part) => part !== "").join(". ");
  return figures === "" ? "No run has ended yet." : `${figures}.${trend}`;
}

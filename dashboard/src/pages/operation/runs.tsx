/** The runs of an operation's name: their figures, the last twenty as a strip, and the runs before and after. */

import type { JSX } from "preact";
import "../names/names.css";
import { LOOK_WORDS } from "../../format/operation.ts";
import { counted, formatPreciseSpan, formatSpan } from "../../format/span.ts";
import { hub } from "../../hub.ts";
import { Age } from "../../parts/age.tsx";
import { StateIcon } from "../../parts/icon.tsx";
import { useResource } from "../../parts/resource.ts";
import { Go, hrefOf } from "../../router.tsx";
import type { NameView } from "../names/rows.ts";
import { describeStrip } from "../names/strip.ts";
import { StripView } from "../names/strip-view.tsx";
import { describeTrend } from "../names/trend.ts";
import type { OperationDetail, Run } from "./detail.ts";

/** Figures of the runs of its name, with the runs before and after. */
export function Runs({ detail }: { readonly detail: OperationDetail }): JSX.Element | null {
  const { usual, previous, next } = detail;
  if (detail.name === "" || (usual === undefined && previous === undefined && next === undefined)) return null;
  const runs = usual?.runs ?? 0;
  const took = [
    usual?.median_duration_s === undefined ? "" : `Usually ${formatSpan(usual.median_duration_s)}`,
    usual?.p95_duration_s === undefined ? "" : `19 of 20 below ${formatSpan(usual.p95_duration_s)}`,
  ].filter(Boolean);
  return (
    <section class="sec frozen" aria-labelledby="h-runs">
      <header>
        <h2 id="h-runs">
          <Go href={hrefOf("name", { name: detail.name })}>Runs of this name</Go>
        </h2>
        {runs > 0 ? (
          <span class="note">
            {counted(runs, "run")} ended, {usual?.failed ?? 0} failed
          </span>
        ) : null}
      </header>
      <Strip name={detail.name} version={`${detail.state} ${detail.attempt}`} />
      {took.length > 0 ? <p class="two note-s gap">{took.join("; ")}.</p> : null}
      <ul class="tree runs">
        {previous === undefined ? null : <RunLink run={previous} label="Previous" hotkey="[" />}
        {next === undefined ? null : <RunLink run={next} label="Next" hotkey="]" />}
      </ul>
    </section>
  );
}

function RunLink(props: { readonly run: Run; readonly label: string; readonly hotkey: string }): JSX.Element {
  const { run, label, hotkey } = props;
  const at = run.ended_at ?? run.started_at;
  const words = run.ended_at === undefined ? sinceWords : undefined;
  return (
    <li>
      <div>
        <StateIcon look={run.state} />
        <Go href={hrefOf("operation", { id: run.operation_id })} title={run.operation_id}>
          {label}: {LOOK_WORDS[run.state]}{" "}
          {at === undefined ? null : <Age at={at} {...(words === undefined ? {} : { words })} />}
        </Go>
        <span class="num two">
          {run.duration_s === undefined ? "" : formatPreciseSpan(run.duration_s)} <kbd class="not-phone">{hotkey}</kbd>
        </span>
      </div>
    </li>
  );
}

/** Words for the age of a run that has not ended. */
function sinceWords(seconds: number): string {
  return `for ${formatSpan(seconds)}`;
}

/** The last runs as columns; nothing while they are not known. */
function Strip({ name, version }: { readonly name: string; readonly version: string }): JSX.Element | null {
  const names = useResource(
    (signal) => hub.request<{ readonly names: readonly NameView[] }>("v1/operation-names", { signal, query: { name } }),
    `${name} ${version}`,
  );
  // `*` at the end of a name is a pattern for the hub.
  const view = names.value.value?.names.find((each) => each.name === name);
  if (view?.recent === undefined || view.recent.length === 0) return null;
  const trend = describeTrend(view.recent);
  return (
    <div class="strip-wide">
      <StripView runs={view.recent} medianS={view.median_duration_s} label={describeStrip(view.recent)} />
      {trend.text === "" ? null : <p class="two note-s">Lately: {trend.text}</p>}
    </div>
  );
}

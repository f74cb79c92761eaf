/** The strip of a name, drawn. */

import type { ComponentChildren, JSX } from "preact";
import { LOOK_WORDS } from "../../format/operation.ts";
import { formatPreciseSpan } from "../../format/span.ts";
import { type Column, layOutStrip, type Run } from "./strip.ts";

/** Space between a failed column and the bar on top of it. */
const BAR_ABOVE = 2.5;
/** A column that is cut has a dotted line in the space above the strip. */
const CUT_FROM = -1;
const CUT_TO = 3;

/** Properties of {@link StripView}. */
export interface StripViewProps {
  readonly runs: readonly Run[];
  readonly medianS: number | undefined;
  readonly label: string;
}

/** The last runs as columns. */
export function StripView({ runs, medianS, label }: StripViewProps): JSX.Element {
  const { columns, medianY } = layOutStrip(runs, medianS ?? null);
  return (
    <svg class="strip" role="img" aria-label={label}>
      {columns.map((column) => (
        <ColumnView key={column.run.operation_id + column.x} column={column} />
      ))}
      {medianY === null ? null : <line class="med" x1="0%" x2="100%" y1={medianY} y2={medianY} />}
    </svg>
  );
}

const CLASSES: Readonly<Record<Column["shape"], string>> = {
  solid: "ok",
  failed: "bad",
  hollow: "off",
  outline: "live",
};

function ColumnView({ column }: { readonly column: Column }): JSX.Element {
  const { run, shape, x, y, width, height, cut } = column;
  const middle = `${x + width / 2}%`;
  const state = shape === "outline" ? ` s-${run.state}` : "";
  return (
    <g>
      <title>{describeRun(run)}</title>
      <rect class={CLASSES[shape] + state} x={`${x}%`} y={y} width={`${width}%`} height={height} />
      {shape === "failed" ? (
        <line class="x" x1={`${x}%`} x2={`${x + width}%`} y1={y - BAR_ABOVE} y2={y - BAR_ABOVE} />
      ) : null}
      {cut ? <line class={`cutoff${state}`} x1={middle} x2={middle} y1={CUT_FROM} y2={CUT_TO} /> : null}
    </g>
  );
}

function describeRun({ state, duration_s }: Run): string {
  if (duration_s === undefined) return LOOK_WORDS[state];
  const span = formatPreciseSpan(duration_s);
  if (state === "complete") return `complete, took ${span}`;
  return state === "failed" || state === "cancelled"
    ? `${LOOK_WORDS[state]} after ${span}`
    : `${LOOK_WORDS[state]} for ${span}`;
}

/** What the shapes of a strip mean. */
export function StripKey(): JSX.Element {
  return (
    <div class="key strip-key not-phone">
      <KeyEntry words="complete">
        <rect class="ok" width="6" height="8" x="6" />
      </KeyEntry>
      <KeyEntry words="failed">
        <rect class="bad" width="6" height="5.5" x="6" y="2.5" />
        <line class="x" x1="6" x2="12" y1="0.5" y2="0.5" />
      </KeyEntry>
      <KeyEntry words="cancelled">
        <rect class="off" width="5" height="7" x="6.5" y=".5" />
      </KeyEntry>
      <KeyEntry words="running">
        <rect class="live s-running" width="5" height="7" x="6.5" y=".5" />
      </KeyEntry>
      <KeyEntry words="median">
        <line class="med" x2="18" y1="4" y2="4" />
      </KeyEntry>
    </div>
  );
}

function KeyEntry({ words, children }: { readonly words: string; readonly children: ComponentChildren }): JSX.Element {
  return (
    <span>
      <svg class="strip" aria-hidden="true">
        {children}
      </svg>
      {words}
    </span>
  );
}

/** Progress over time: this attempt, earlier ones, and where four of five good runs were. */

import { type ReadonlySignal, useComputed, useSignalEffect } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type UPlot from "uplot";
import "../../charts/charts.css";
import { colorOf, colorsVersion, watchColors } from "../../charts/colors.ts";
import { ChartMissing } from "../../charts/line-chart.tsx";
import { plotLibrary } from "../../charts/plot-library.ts";
import { now } from "../../clock.ts";
import { isLive, lookOf } from "../../format/operation.ts";
import { formatPreciseSpan, formatSpan, ordinal } from "../../format/span.ts";
import type { OperationDetail } from "./detail.ts";
import { axisMark, bandWords, type ChartData, chartData, type ProgressHistory } from "./progress-series.ts";

const HEIGHT_PX = 168;
const Y_AXIS_PX = 40;
const X_AXIS_PX = 24;
/** Seconds between marks of the time axis. */
const X_STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400, 604_800];

export interface ProgressChartProps {
  readonly detail: ReadonlySignal<OperationDetail>;
  readonly history: ProgressHistory;
  readonly progressed: ReadonlySignal<number>;
}

/** The section; nothing while no progress is known. New points come at most once a second. */
export function ProgressChart({ detail, history, progressed }: ProgressChartProps): JSX.Element | null {
  const data = useComputed(() => {
    void progressed.value;
    const isMoving = isLive(detail.value);
    return chartData(detail.peek(), history, isMoving ? now.value : 0);
  });
  const isKnown = useComputed(() => data.value !== undefined);
  if (!isKnown.value || data.value === undefined) return null;
  const { earlier, fast } = data.value;
  return (
    <section class="sec frozen" aria-labelledby="h-pr">
      <header>
        <h2 id="h-pr">Progress</h2>
        <span class="note">since the attempt began</span>
        <div class="key chart-key">
          <span>
            <svg aria-hidden="true" class={`cur-${lookOf(detail.value)}`}>
              <line class="k-cur" x2="18" y1="4" y2="4" />
            </svg>
            {detail.value.attempt > 1 ? `${ordinal(detail.value.attempt)} attempt` : "this run"}
          </span>
          {earlier.length === 0 ? null : (
            <span>
              <svg aria-hidden="true">
                <line class="k-old" x2="18" y1="4" y2="4" />
              </svg>
              earlier attempts
            </span>
          )}
          {fast.length === 0 ? null : (
            <span>
              <svg aria-hidden="true">
                <rect class="k-usual" width="18" height="8" />
              </svg>
              {bandWords(detail.value)}
            </span>
          )}
        </div>
      </header>
      <Plot detail={detail} data={data} />
    </section>
  );
}

interface PlotProps {
  readonly detail: ReadonlySignal<OperationDetail>;
  readonly data: ReadonlySignal<ChartData | undefined>;
}

function Plot({ detail, data }: PlotProps): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<UPlot>();
  const label = useComputed(() => describe(detail.value, data.value));
  const made = useRef("");
  useSignalEffect(() => {
    const known = data.value;
    const current = detail.value;
    const element = box.current;
    const Library = plotLibrary.value.value;
    if (element === null || known === undefined || Library === undefined) return;
    // The plot is made again only where its series or its colours change; data must always fit its series.
    const shape = `${known.earlier.length} ${known.fast.length > 0} ${lookOf(current)} ${colorsVersion.value}`;
    if (plot.current !== undefined && made.current === shape) {
      plot.current.setData(columnsOf(known));
      return;
    }
    made.current = shape;
    plot.current?.destroy();
    plot.current = new Library(optionsFor(known, current, element), columnsOf(known), element);
  });
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height: HEIGHT_PX }));
    resized.observe(element);
    const unwatch = watchColors();
    void plotLibrary.load();
    return () => {
      unwatch();
      resized.disconnect();
      plot.current?.destroy();
      plot.current = undefined;
    };
  }, []);
  return (
    <>
      <div ref={box} class="progress-plot" role="img" aria-label={label} />
      {plotLibrary.isMissing.value ? <ChartMissing /> : null}
    </>
  );
}

function columnsOf({ seconds, fast, slow, likely, earlier, current }: ChartData): UPlot.AlignedData {
  const band = fast.length > 0 ? [fast, slow, likely] : [];
  return [seconds, ...band, ...earlier, current] as unknown as UPlot.AlignedData;
}

function optionsFor(data: ChartData, detail: OperationDetail, box: HTMLElement): UPlot.Options {
  const hasBand = data.fast.length > 0;
  const color = (token: `--${string}`) => colorOf(token, box);
  const font = `11px ${getComputedStyle(box).fontFamily}`;
  const axis = { stroke: color("--text-3"), font, grid: { stroke: color("--line"), width: 1 }, ticks: { show: false } };
  const hidden: UPlot.Series = { show: true, width: 0, points: { show: false } };
  const likely: UPlot.Series = { stroke: color("--mute"), width: 1.5, dash: [4, 3], points: { show: false } };
  const old: UPlot.Series = { stroke: color("--mute"), width: 1.5, points: { show: false } };
  const current: UPlot.Series = { stroke: color(CURVE_TOKENS[lookOf(detail)]), width: 2, points: { show: false } };
  return {
    width: box.clientWidth,
    height: HEIGHT_PX,
    padding: [8, 20, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { time: false }, y: { range: [0, 100] } },
    axes: [
      {
        ...axis,
        size: X_AXIS_PX,
        grid: { show: false },
        space: 72,
        incrs: [...X_STEPS_S],
        values: (_, at) => at.map(axisMark),
      },
      { ...axis, size: Y_AXIS_PX, splits: () => [0, 50, 100], values: (_, at) => at.map((each) => `${each}%`) },
    ],
    series: [{}, ...(hasBand ? [hidden, hidden, likely] : []), ...data.earlier.map(() => old), current],
    bands: hasBand ? [{ series: [1, 2], fill: color("--track") }] : [],
  };
}

const CURVE_TOKENS = {
  queued: "--idle",
  running: "--running",
  stalled: "--warn",
  away: "--warn",
  complete: "--complete",
  failed: "--failed",
  cancelled: "--idle",
} as const;

/** The chart in words, for screen readers. */
function describe(detail: OperationDetail, data: ChartData | undefined): string {
  if (data === undefined) return "Progress";
  let last = data.current.length - 1;
  while (last > 0 && data.current[last] === null) last--;
  const percent = Math.floor(data.current[last] ?? 0);
  const parts = [`Progress: ${percent}% after ${formatPreciseSpan(data.seconds[last] ?? 0)}`];
  const band = detail.usual?.band?.at(-1);
  if (band !== undefined) {
    const [low, high] = [formatSpan(band.low_s), formatSpan(band.high_s)];
    parts.push(`Good runs reach ${band.progress}% after ${low === high ? low : `${low} to ${high}`}`);
  }
  return `${parts.join(". ")}.`;
}

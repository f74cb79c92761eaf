/** Lines over time on a canvas, by uPlot. Axes, legends and figures are HTML around it, made by who shows it. */

import { type ReadonlySignal, useSignalEffect } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type UPlot from "uplot";
import { colorOf, colorsVersion, watchColors } from "./colors.ts";
import { plotLibrary } from "./plot-library.ts";
import type { Columns } from "./time-series.ts";

/** How one line is drawn. Colours are tokens, read when they are drawn, so that they follow the theme. */
export interface Line {
  readonly token: `--${string}`;
  /** Width in pixels; default 1.5. */
  readonly width?: number;
  /** Lengths of dashes and gaps in pixels. */
  readonly dash?: readonly number[];
  /** Token of the area below the line. */
  readonly area?: `--${string}`;
}

/** What is drawn. */
export interface Plot {
  readonly columns: Columns;
  /** Ends of the time axis, in the unit of the first column. */
  readonly from: number;
  readonly until: number;
  /** Upper end of the other axis, which begins at 0. */
  readonly top: number;
}

/** Properties of {@link LineChart}. */
export interface LineChartProps {
  readonly plot: ReadonlySignal<Plot>;
  /** One for each column behind the first. The number of lines does not change. */
  readonly lines: readonly Line[];
  /** Height in pixels. */
  readonly height: number;
  /** What the chart says, for people who do not see it. */
  readonly label: string | ReadonlySignal<string>;
  /** Called with the index of the point under the pointer; null when there is none. */
  readonly onPoint?: (index: number | null) => void;
}

/** A chart as wide as its place. New data is drawn when it comes, and not while the tab is hidden. */
export function LineChart({ plot, lines, height, label, onPoint }: LineChartProps): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const chart = useRef<UPlot | null>(null);
  const told = useRef(onPoint);
  told.current = onPoint;

  const Library = plotLibrary.value.value;
  useEffect(() => void plotLibrary.load(), []);
  useEffect(() => {
    const element = box.current;
    if (element === null || Library === undefined) return;
    const made = new Library(optionsOf(element, lines, height, plot, told), dataOf(plot.peek(), lines), element);
    chart.current = made;
    const resized = new ResizeObserver(() => {
      if (element.clientWidth > 0) made.setSize({ width: element.clientWidth, height });
    });
    resized.observe(element);
    const shown = () => {
      if (document.visibilityState === "visible") made.setData(dataOf(plot.peek(), lines));
    };
    document.addEventListener("visibilitychange", shown);
    const unwatch = watchColors();
    return () => {
      unwatch();
      document.removeEventListener("visibilitychange", shown);
      resized.disconnect();
      made.destroy();
      chart.current = null;
    };
  }, [Library, lines, height, plot]);

  useSignalEffect(() => {
    const data = dataOf(plot.value, lines);
    if (document.visibilityState === "visible") chart.current?.setData(data);
  });
  useSignalEffect(() => {
    if (colorsVersion.value > 0) chart.current?.redraw();
  });

  return (
    <>
      <div ref={box} class="line-chart" role="img" aria-label={label} />
      {plotLibrary.isMissing.value ? <ChartMissing /> : null}
    </>
  );
}

/** What stands below a chart that cannot be drawn. */
export function ChartMissing(): JSX.Element {
  return <p class="three">This chart did not load. Load the page again: the hub may have been upgraded.</p>;
}

/** The columns of a plot, with empty ones for lines that have no values yet: uPlot needs one for each. */
function dataOf(plot: Plot, lines: readonly Line[]): UPlot.AlignedData {
  const columns = [null, ...lines].map((_, index) => plot.columns[index] ?? []);
  return columns as unknown as UPlot.AlignedData;
}

function optionsOf(
  element: HTMLElement,
  lines: readonly Line[],
  height: number,
  plot: ReadonlySignal<Plot>,
  told: { readonly current: LineChartProps["onPoint"] },
): UPlot.Options {
  return {
    width: Math.max(1, element.clientWidth),
    height,
    padding: [2, 0, 1, 0],
    legend: { show: false },
    axes: [{ show: false }, { show: false }],
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
    scales: {
      x: { time: false, range: () => [plot.peek().from, plot.peek().until] },
      y: { range: () => [0, plot.peek().top] },
    },
    series: [{}, ...lines.map((line) => seriesOf(line, element))],
    hooks: { setCursor: [(self) => told.current?.(self.cursor.idx ?? null)] },
  };
}

function seriesOf(line: Line, element: HTMLElement): UPlot.Series {
  const area = line.area;
  return {
    stroke: () => colorOf(line.token, element),
    width: line.width ?? 1.5,
    ...(line.dash === undefined ? {} : { dash: [...line.dash] }),
    ...(area === undefined ? {} : { fill: () => colorOf(area, element) }),
    points: { show: false },
    spanGaps: false,
  };
}

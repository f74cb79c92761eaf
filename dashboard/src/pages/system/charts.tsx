/** Charts of the hub's figures. */

import { type ReadonlySignal, useComputed, useSignal } from "@preact/signals";
import type { JSX } from "preact";
import "../../charts/charts.css";
import { type Line, LineChart } from "../../charts/line-chart.tsx";
import { niceTop, peakOf } from "../../charts/time-series.ts";
import { now } from "../../clock.ts";
import { grouped } from "../../format/span.ts";
import { formatMinute, formatTime } from "../../format/time.ts";
import { Go, hrefOf } from "../../router.tsx";
import { zone } from "../../settings.ts";
import { formatBytes } from "../events/describe.ts";
import type { SeriesName } from "./facts.ts";
import type { Figures } from "./figures.ts";

/** How one figure is called and written. */
interface Figure {
  readonly name: SeriesName;
  readonly label: string;
  readonly unit: string;
  readonly write: (value: number) => string;
}

const FIGURES: readonly Figure[] = [
  { name: "events_per_s", label: "Events published", unit: "per s", write: rounded },
  { name: "writes_per_s", label: "Deliveries", unit: "per s", write: rounded },
  { name: "live_operations", label: "Live operations", unit: "", write: rounded },
  { name: "connections", label: "Connections", unit: "open", write: rounded },
  { name: "log_bytes", label: "Log size", unit: "", write: formatBytes },
  { name: "catching_up", label: "Slow readers", unit: "", write: rounded },
  { name: "waiting_bytes", label: "Waiting for slow readers", unit: "", write: formatBytes },
  { name: "refused_per_s", label: "Events refused", unit: "per s", write: rounded },
  { name: "loop_delay_ms", label: "Longest delay of the hub", unit: "ms", write: rounded },
];

/** Choices of how much is shown, in hours. */
const HOURS = [1, 6, 24] as const;

const HEIGHT_PX = 64;
const LINE: readonly Line[] = [{ token: "--text-2", area: "--track" }];
const WITH_LIMIT: readonly Line[] = [...LINE, { token: "--text-3", dash: [4, 3] }];

/** Read how many hours are shown from an address. */
export function readHours(text: string | null): number {
  return HOURS.find((hours) => String(hours) === text) ?? 1;
}

/** Properties of {@link Charts}. */
export interface ChartsProps {
  readonly figures: Figures;
  /** Grows with each change of the figures. */
  readonly version: ReadonlySignal<number>;
  readonly hours: number;
  /** The most that the log may hold, in bytes. */
  readonly limit: number | undefined;
}

/** The charts that the hub has figures for. */
export function Charts({ figures, version, hours, limit }: ChartsProps): JSX.Element {
  void version.value;
  const known = FIGURES.filter(({ name }) => figures.has(name));
  return (
    <section aria-label="Figures of the hub">
      <div class="h-sec">
        <h2>The last {hours === 1 ? "hour" : `${hours} hours`}</h2>
        <span class="three">{known.length === 0 ? "" : "one point a minute, kept by the hub for a day"}</span>
        <span class="grow" />
        <div class="set" role="group" aria-label="How much is shown">
          {HOURS.map((each) => (
            <Go
              key={each}
              class="btn"
              aria-current={each === hours ? "true" : undefined}
              href={hrefOf("system", { hours: each === 1 ? undefined : String(each) })}
            >
              {each} h
            </Go>
          ))}
        </div>
      </div>
      {known.length === 0 ? (
        <p class="empty three">The hub has just begun to count: the first figures come within a minute.</p>
      ) : (
        <div class="multi list frozen">
          {known.map((figure) => (
            <FigureChart
              key={figure.name}
              figure={figure}
              figures={figures}
              version={version}
              hours={hours}
              limit={figure.name === "log_bytes" ? limit : undefined}
            />
          ))}
        </div>
      )}
    </section>
  );
}

interface FigureProps extends ChartsProps {
  readonly figure: Figure;
}

function FigureChart({ figure, figures, version, hours, limit }: FigureProps): JSX.Element {
  const { name, label, unit, write } = figure;
  // A limit that is far away would flatten the line.
  const plot = useComputed(() => {
    void version.value;
    const until = Math.max(Math.floor(now.value / 10_000) * 10, 0);
    const from = until - hours * 3_600;
    const [at, values = []] = figures.columns(name, from, until + 60);
    const most = peakOf(values) ?? 0;
    const near = limit !== undefined && limit < 3 * most ? limit : null;
    const columns = limit === undefined ? ([at, values] as const) : ([at, values, at.map(() => near)] as const);
    return { columns, from, until, top: niceTop(values, near) };
  });
  const pointed = useSignal<number | null>(null);
  const head = useComputed(() => {
    const [at, values = []] = plot.value.columns;
    const index = pointed.value;
    const value = index === null ? figures.newest(name) : (values[index] ?? null);
    const time = index === null ? undefined : at[index];
    const peak = peakOf(values);
    const beside = time === undefined ? (peak === null ? "" : `peak ${write(peak)}`) : `at ${timeOf(time)}`;
    return { value: value === null ? "" : write(value), beside };
  });
  const spoken = useComputed(() => {
    const value = figures.newest(name);
    const peak = peakOf(plot.value.columns[1] ?? []);
    const is = value === null ? "unknown now" : `now ${[write(value), unit].filter(Boolean).join(" ")}`;
    return `${label} over the last ${hours === 1 ? "hour" : `${hours} hours`}: ${is}${peak === null ? "" : `, at most ${write(peak)}`}`;
  });
  return (
    <figure>
      <figcaption>
        {label} <span class="unit">{head.value.beside}</span>
        <b>{head.value.value}</b>
        {unit === "" ? null : <span class="unit">{unit}</span>}
        {limit === undefined ? null : <span class="unit">of {formatBytes(limit)}</span>}
      </figcaption>
      <LineChart
        plot={plot}
        lines={limit === undefined ? LINE : WITH_LIMIT}
        height={HEIGHT_PX}
        label={spoken}
        onPoint={(index) => {
          pointed.value = index;
        }}
      />
      <div class="axis" aria-hidden="true">
        <span>{formatMinute(plot.value.from * 1000, zone.value)}</span>
        <span>{formatMinute(((plot.value.from + plot.value.until) / 2) * 1000, zone.value)}</span>
        <span>{formatMinute(plot.value.until * 1000, zone.value)}</span>
      </div>
    </figure>
  );
}

function timeOf(seconds: number): string {
  return formatTime(seconds * 1000, zone.value, now.peek());
}

function rounded(value: number): string {
  return value > 0 && value < 10 ? value.toFixed(1).replace(/\.0$/u, "") : grouped(Math.round(value));
}

/**
 * The strip of a name: its last runs as columns, the newest at the right. Pure.
 *
 * The height of a column is the duration of the run. It is capped, so that one run that hung does not flatten all others;
 * a column that is cut says so with a dotted line on top. Each outcome has a shape of its own: solid for complete, with a
 * bar on top for failed, hollow for cancelled, outlined for running.
 */

/** Number of columns of a strip. */
export const SLOTS = 20;
/** Height of the drawing, in its own units; a row gives it as many pixels. */
export const STRIP_HEIGHT = 30;

const BASE_Y = 29;
const MAX_COLUMN = 23.8;
/** A run so short that its column would vanish. */
const MIN_COLUMN = 1.5;
/** Height of a column of unknown duration. */
const UNKNOWN_COLUMN = 3;
const SLOT_PERCENT = 100 / SLOTS;
const WIDTH_PERCENT = 3.8;
/** An outline is drawn on its edge: a hollow column is narrower by its line, to be as wide as a solid one. */
const INSET_PERCENT = 0.3;
/** A column is cut only if it is more than this many times as high as the usual duration… */
const CAP_OF_MEDIAN = 2.5;
/** …and this many times as high as all but two: what happens more often belongs to the name. */
const CAP_OF_THIRD = 1.5;

/** Outcome of a run, or how it stands now. */
export type RunState = "complete" | "failed" | "cancelled" | "running" | "stalled" | "away" | "queued";

/** One run of a name. */
export interface Run {
  readonly operation_id: string;
  readonly state: RunState;
  /** Duration in seconds; of a live run, its time so far. Absent where it is unknown. */
  readonly duration_s?: number | undefined;
}

/** One column. Places and widths are percent of the strip, heights its units. */
export interface Column {
  readonly run: Run;
  readonly shape: "solid" | "failed" | "hollow" | "outline";
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  /** True: the run took longer than the strip is high. */
  readonly cut: boolean;
}

/** A strip, ready to be drawn. */
export interface Strip {
  readonly columns: readonly Column[];
  /** Place of the line of the usual duration; null where it is unknown. */
  readonly medianY: number | null;
}

/**
 * Lay out a strip.
 *
 * @param runs - The runs, the newest last; only the newest twenty are drawn.
 * @param medianS - The usual duration in seconds, if known.
 */
export function layOutStrip(runs: readonly Run[], medianS: number | null): Strip {
  const shown = runs.slice(-SLOTS);
  const scale = scaleOf(shown, medianS);
  const first = SLOTS - shown.length;
  const columns = shown.map((run, index) => layOutColumn(run, first + index, scale));
  const known = medianS !== null && Number.isFinite(medianS) && medianS >= 0 && columns.length > 0;
  return { columns, medianY: known ? round(BASE_Y - heightOf(medianS, scale)) : null };
}

/** Return the duration that is as high as the strip, in seconds. */
function scaleOf(runs: readonly Run[], medianS: number | null): number {
  const durations = runs.map((run) => run.duration_s).filter(isDuration);
  const usual = medianS !== null && isDuration(medianS) && medianS > 0 ? medianS : medianOf(durations);
  const most = Math.max(0, ...durations, usual ?? 0);
  if (usual === null || usual === 0) return most;
  const third = durations.sort((a, b) => b - a)[2] ?? 0;
  return Math.min(most, Math.max(usual * CAP_OF_MEDIAN, third * CAP_OF_THIRD));
}

function isDuration(seconds: number | undefined): seconds is number {
  return seconds !== undefined && Number.isFinite(seconds) && seconds >= 0;
}

function heightOf(seconds: number, scale: number): number {
  if (scale <= 0) return MIN_COLUMN;
  return Math.min(MAX_COLUMN, Math.max(MIN_COLUMN, (seconds / scale) * MAX_COLUMN));
}

function layOutColumn(run: Run, slot: number, scale: number): Column {
  const shape = shapeOf(run.state);
  const hollow = shape === "hollow" || shape === "outline";
  const known = isDuration(run.duration_s);
  const whole = known ? heightOf(run.duration_s, scale) : UNKNOWN_COLUMN;
  // The outline of a column lies half outside it.
  const height = hollow ? Math.max(1, whole - 0.5) : whole;
  return {
    run,
    shape,
    x: round(slot * SLOT_PERCENT + (hollow ? INSET_PERCENT : 0)),
    y: round((hollow ? BASE_Y - 0.5 : BASE_Y) - height),
    width: round(WIDTH_PERCENT - (hollow ? 2 * INSET_PERCENT : 0)),
    height: round(height),
    cut: known && scale > 0 && run.duration_s > scale * 1.001,
  };
}

function shapeOf(state: RunState): Column["shape"] {
  if (state === "complete") return "solid";
  if (state === "failed") return "failed";
  return state === "cancelled" ? "hollow" : "outline";
}

/** Return the middle of a list of numbers; null of an empty one. */
export function medianOf(values: readonly number[]): number | null {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}

/** Return what a strip says, for people who do not see it. */
export function describeStrip(runs: readonly Run[]): string {
  const shown = runs.slice(-SLOTS);
  const ended = shown.filter((run) => run.state === "complete" || run.state === "failed" || run.state === "cancelled");
  const live = shown.length - ended.length;
  if (shown.length === 0) return "No run yet";
  const failed = ended.filter((run) => run.state === "failed").length;
  const cancelled = ended.filter((run) => run.state === "cancelled").length;
  const parts = [failed === 0 ? "none failed" : `${failed} failed`];
  if (cancelled > 0) parts.push(`${cancelled} cancelled`);
  if (live > 0) parts.push(`${live} not ended`);
  return `Last ${shown.length === 1 ? "run" : `${shown.length} runs`}: ${parts.join(", ")}`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

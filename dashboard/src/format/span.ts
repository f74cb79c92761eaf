/** Durations and ages in words, the same as those of the command line. All arguments are seconds. */

const MINUTE = 60;
const HOUR = 3_600;
const DAY = 86_400;

/** Ratio of the latest to the earliest end below which one number says it. */
const MIN_SPREAD_RATIO = 1.3;

/** A duration in its largest fitting unit: `3 s`, `14 min`, `2 h`, `3 days`. */
export function formatSpan(seconds: number): string {
  if (seconds < 99.5) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 99.5 * MINUTE) return `${Math.round(seconds / MINUTE)} min`;
  if (seconds < 47.5 * HOUR) return `${Math.round(seconds / HOUR)} h`;
  return `${grouped(Math.round(seconds / DAY))} days`;
}

/** A duration in two units, where durations are compared: `0.9 s`, `42 s`, `3 min 4 s`, `2 h 10 min`. */
export function formatPreciseSpan(seconds: number): string {
  const known = Math.max(0, seconds);
  if (known < 9.95) return `${known.toFixed(1)} s`;
  const whole = Math.round(known);
  if (whole < MINUTE) return `${whole} s`;
  if (whole < HOUR) return twoUnits(Math.floor(whole / MINUTE), "min", whole % MINUTE, "s");
  const minutes = Math.round(whole / MINUTE);
  if (minutes < 48 * 60) return twoUnits(Math.floor(minutes / 60), "h", minutes % 60, "min");
  const hours = Math.round(whole / HOUR);
  return twoUnits(Math.floor(hours / 24), "days", hours % 24, "h");
}

function twoUnits(first: number, firstUnit: string, second: number, secondUnit: string): string {
  return second === 0 ? `${first} ${firstUnit}` : `${first} ${firstUnit} ${second} ${secondUnit}`;
}

/** An age: `just now`, `3 s ago`. */
export function formatAgo(seconds: number): string {
  return seconds < 0.5 ? "just now" : `${formatSpan(seconds)} ago`;
}

/** A remaining time, with its bounds where they differ enough: `about 40 s left`, `4 to 6 min left`. */
export function formatRemaining(middle: number, low?: number, high?: number): string {
  if (low !== undefined && high !== undefined) {
    const from = formatSpan(low);
    const to = formatSpan(high);
    const [number = "", unit = ""] = from.split(" ");
    if (from !== to && number === "0") return `up to ${to} left`;
    if (from !== to && high > MIN_SPREAD_RATIO * low) {
      return `${to.endsWith(` ${unit}`) ? number : from} to ${to} left`;
    }
  }
  return `about ${formatSpan(middle)} left`;
}

/** Percent per second in a readable unit: `0.24 %/s`, `0.41 %/min`, `3.5 %/h`; empty for none. */
export function formatRate(percentPerSecond: number | undefined): string {
  if (percentPerSecond === undefined || !(percentPerSecond > 0)) return "";
  if (percentPerSecond >= 0.01) return `${twoDigits(percentPerSecond)} %/s`;
  if (percentPerSecond * MINUTE >= 0.01) return `${twoDigits(percentPerSecond * MINUTE)} %/min`;
  return `${twoDigits(percentPerSecond * HOUR)} %/h`;
}

function twoDigits(value: number): string {
  if (value >= 100) return grouped(Math.round(value));
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** `1st`, `2nd`, `3rd`, `4th`, `11th`. */
export function ordinal(number: number): string {
  const ending = { 1: "st", 2: "nd", 3: "rd" }[number % 10];
  return `${number}${ending === undefined || Math.floor((number % 100) / 10) === 1 ? "th" : ending}`;
}

/** A whole number with separators: `1,261`. */
export function grouped(number: number): string {
  return GROUPED.format(number);
}

const GROUPED = new Intl.NumberFormat("en-US");

/** A number with its noun: `1 row`, `3 rows`. `plural` defaults to `noun` with an s. */
export function counted(number: number, noun: string, plural = `${noun}s`): string {
  return `${grouped(number)} ${number === 1 ? noun : plural}`;
}

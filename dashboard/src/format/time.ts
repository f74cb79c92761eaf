/** Points in time, in the reader's zone or in UTC. Times are RFC 3339 texts or milliseconds since 1970. */

export type Zone = "local" | "utc";

/** Milliseconds since 1970 of an RFC 3339 time; undefined for none, or for text that is not a time. */
export function toMillis(time: string | number | undefined | null): number | undefined {
  if (time === undefined || time === null) return undefined;
  const millis = typeof time === "number" ? time : Date.parse(time);
  return Number.isNaN(millis) ? undefined : millis;
}

/** Seconds since a time by the hub's clock: at least 0, because a producer's clock may be ahead. */
export function ageSeconds(time: string | number | undefined | null, now: number): number | undefined {
  const millis = toMillis(time);
  return millis === undefined ? undefined : Math.max(0, (now - millis) / 1000);
}

/** Time of day: `02:14:31`. */
export function formatClock(millis: number, zone: Zone): string {
  return formatter(zone, "clock").format(millis);
}

/** Time of day to the millisecond: `02:14:31.207`. */
export function formatPreciseClock(millis: number, zone: Zone): string {
  return formatter(zone, "precise").format(millis);
}

/** Time of day to the minute: `02:14`. */
export function formatMinute(millis: number, zone: Zone): string {
  return formatter(zone, "minute").format(millis);
}

/** A day: `23 Nov`, or `23 Nov 2024` if the year is not that of `now`. */
export function formatDay(millis: number, zone: Zone, now: number): string {
  const year = formatter(zone, "year");
  return formatter(zone, year.format(millis) === year.format(now) ? "day" : "dayOfYear").format(millis);
}

/** A time as briefly as `now` allows: `02:14:31` today, otherwise `23 Nov, 02:10`. */
export function formatTime(millis: number, zone: Zone, now: number): string {
  const day = formatter(zone, "dayOfYear");
  if (day.format(millis) === day.format(now)) return formatClock(millis, zone);
  return `${formatDay(millis, zone, now)}, ${formatMinute(millis, zone)}`;
}

/** A whole time with its zone, for tooltips and copied text: `2026-11-23 02:10:04.120 UTC`. */
export function formatFullTime(millis: number, zone: Zone): string {
  const parts = new Map(
    formatter(zone, "full")
      .formatToParts(millis)
      .map((part) => [part.type, part.value]),
  );
  const part = (type: Intl.DateTimeFormatPartTypes) => parts.get(type) ?? "";
  const date = `${part("year")}-${part("month")}-${part("day")}`;
  return `${date} ${formatPreciseClock(millis, zone)} ${zone === "utc" ? "UTC" : part("timeZoneName")}`;
}

type Form = "clock" | "precise" | "minute" | "year" | "day" | "dayOfYear" | "full";

const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" } as const;

const FORMS: Readonly<Record<Form, Intl.DateTimeFormatOptions>> = {
  clock: CLOCK,
  precise: { ...CLOCK, fractionalSecondDigits: 3 },
  minute: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  year: { year: "numeric" },
  day: { day: "numeric", month: "short" },
  dayOfYear: { day: "numeric", month: "short", year: "numeric" },
  full: { year: "numeric", month: "2-digit", day: "2-digit", timeZoneName: "short" },
};

/** Making a formatter takes as long as a hundred uses of it. */
const made = new Map<string, Intl.DateTimeFormat>();

function formatter(zone: Zone, form: Form): Intl.DateTimeFormat {
  const key = `${zone} ${form}`;
  let found = made.get(key);
  if (found === undefined) {
    found = new Intl.DateTimeFormat("en-GB", { ...FORMS[form], ...(zone === "utc" ? { timeZone: "UTC" } : {}) });
    made.set(key, found);
  }
  return found;
}

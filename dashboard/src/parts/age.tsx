/** Points in time, written as the reader has set it. */

import { computed, type ReadonlySignal, useComputed } from "@preact/signals";
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { now } from "../clock.ts";
import { formatAgo } from "../format/span.ts";
import { ageSeconds, formatFullTime, formatTime, toMillis } from "../format/time.ts";
import { ages, zone } from "../settings.ts";

/** Properties of {@link Age}. */
export interface AgeProps {
  /** The point in time: RFC 3339, or milliseconds since 1970. */
  readonly at: string | number;
  /** Words for an age in seconds; default `12 min ago`. */
  readonly words?: (seconds: number) => string;
}

/** A point in time as its age or as a time of day, with the full time in the tooltip. All ages share one timer. */
export function Age({ at, words = formatAgo }: AgeProps): JSX.Element {
  const millis = toMillis(at);
  const [text, full] = useMemo(
    () => [
      computed(() => (millis === undefined ? "" : formatPoint(millis, words))),
      computed(() => (millis === undefined ? "" : formatFullTime(millis, zone.value))),
    ],
    [millis, words],
  );
  return (
    <time dateTime={millis === undefined ? "" : new Date(millis).toISOString()} title={full}>
      {text}
    </time>
  );
}

/** Properties of {@link Ages}. */
export interface LiveAgeProps {
  /** The point in time; undefined shows nothing. */
  readonly at: ReadonlySignal<string | number | undefined>;
  readonly words?: ReadonlySignal<(seconds: number) => string>;
}

/** An {@link Age} whose point in time changes. */
export function LiveAge({ at, words }: LiveAgeProps): JSX.Element {
  const millis = useComputed(() => toMillis(at.value));
  const text = useComputed(() =>
    millis.value === undefined ? "" : formatPoint(millis.value, words?.value ?? formatAgo),
  );
  const full = useComputed(() => (millis.value === undefined ? "" : formatFullTime(millis.value, zone.value)));
  return <time title={full}>{text}</time>;
}

/** A point in time as the reader has set it: as an age by `words`, or as a time of day. Reads signals. */
export function formatPoint(millis: number, words: (seconds: number) => string = formatAgo): string {
  if (ages.value === "absolute") return formatTime(millis, zone.value, now.value);
  return words(ageSeconds(millis, now.value) ?? 0);
}

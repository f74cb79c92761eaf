/** The link to the hub, at the top right of every page: its state, and the outcomes of the last reconnects. */

import { computed, effect, type ReadonlySignal } from "@preact/signals";
import type { JSX } from "preact";
import type { ConnectionState, Reconnect } from "tidings";
import { linkAnnouncement } from "../announcer.ts";
import { deviceNow } from "../clock.ts";
import { formatAgo, formatSpan, ordinal } from "../format/span.ts";
import { plain, toSentence } from "../format/text.ts";
import { formatClock } from "../format/time.ts";
import { connection, hub, isStale } from "../hub.ts";
import { Hint } from "../parts/hint.tsx";
import { Icon, type IconName } from "../parts/icon.tsx";
import { Popup, useFloating } from "../parts/popup.tsx";
import { zone } from "../settings.ts";

const WORDS: Readonly<Record<ConnectionState["state"], string>> = {
  connecting: "Connecting",
  "catching-up": "Catching up",
  live: "Live",
  stale: "Stale",
  closed: "Closed",
};

const ICONS: Readonly<Record<ConnectionState["state"], IconName>> = {
  connecting: "queued",
  "catching-up": "running",
  live: "live",
  stale: "warning",
  closed: "failed",
};

/** Seconds since the hub was heard, while the link is lost; otherwise 0. */
export const lostSeconds: ReadonlySignal<number> = computed(() => {
  const { state, heardAt, since } = connection.value;
  return state === "live" ? 0 : Math.max(0, (deviceNow.value - (heardAt ?? since)) / 1000);
});

const retrySeconds = computed(() => {
  const at = connection.value.retryAt;
  return at === undefined ? undefined : Math.max(0, Math.ceil((at - deviceNow.value) / 1000));
});

/** Tries since the link was lost, the running one included. */
const tries = computed(() => triesSinceLoss(connection.value.attempts));

/** Tries at the end of the list of reconnects that have not succeeded. */
export function triesSinceLoss(attempts: readonly Reconnect[]): number {
  const isOpen = (each: Reconnect) => each.outcome === "failed" || each.outcome === "pending";
  const last = attempts.findLastIndex((each) => !isOpen(each));
  return attempts.length - 1 - last;
}

/** When the next try begins: `next try in 6 s`, or `trying now`. */
export const nextTry: ReadonlySignal<string> = computed(() => {
  const seconds = retrySeconds.value;
  return seconds === undefined ? "" : seconds > 0 ? `next try in ${formatSpan(seconds)}` : "trying now";
});

/** Number of the next try: `4th`. */
export const nextTryOrdinal: ReadonlySignal<string> = computed(() => ordinal(tries.value + 1));

/** How long ago the hub was heard, while the link is live: `heard 1 s ago`. */
const heard = computed(() => {
  const at = connection.value.state === "live" ? hub.heardAt() : undefined;
  return at === undefined ? "" : `heard ${formatAgo(Math.max(0, (deviceNow.value - at) / 1000))}`;
});

let heardLast: number | undefined;

/** What there is to know beside the state. */
const facts = computed(() => {
  const { state, reason, heardAt } = connection.value;
  heardLast = heardAt ?? heardLast;
  switch (state) {
    case "live":
      return ""; // a name that changed each second would be read out again and again
    case "catching-up":
      // Positions are opaque, so the number of events is not known, but the time that they span is.
      return `reading what was missed${heardLast === undefined ? "" : ` since ${formatClock(heardLast, zone.value)}`}`;
    case "connecting":
      return `${ordinal(tries.value + 1)} try`;
    case "stale":
      return [formatSpan(lostSeconds.value), nextTry.value].filter(Boolean).join(", ");
    case "closed":
      return plain(reason.error?.code.replaceAll("_", " ")) || reason.code.replaceAll("-", " ");
  }
});

const label = computed(
  () => `Link to the hub: ${[WORDS[connection.value.state].toLowerCase(), facts.value].filter(Boolean).join(" ")}`,
);

/** The indicator; a press shows the last ten reconnects. */
export function Link(): JSX.Element {
  const { open, anchor, toggle } = useFloating();
  const { state } = connection.value;
  return (
    <>
      <button
        ref={anchor}
        class="link"
        type="button"
        data-state={state}
        aria-label={label}
        aria-expanded={open.value}
        onClick={toggle}
      >
        <Icon name={ICONS[state]} />
        <b>{WORDS[state]}</b>{" "}
        {state === "live" ? (
          // Drawn, and not text: it is not part of the name, which would change each second.
          <span class="not-phone heard" data-heard={heard} />
        ) : (
          <span class={state === "stale" ? "" : "not-phone"}>{facts}</span>
        )}
      </button>
      <Popup open={open} anchor={anchor} class="reconnects" label="The link to the hub" role="dialog">
        <Reconnects />
      </Popup>
    </>
  );
}

/** Tells screen readers when the link is lost, and how it came back. */
export function announceLink(): void {
  let wasLost = false;
  effect(() => {
    const isLost = isStale.value;
    if (isLost && !wasLost) linkAnnouncement.value = "The link to the hub is lost. What is shown may be old";
    if (!isLost && wasLost) {
      const last = connection
        .peek()
        .attempts.findLast((each) => each.outcome !== "pending" && each.outcome !== "failed");
      linkAnnouncement.value = `The link to the hub is ${(last === undefined ? "Back" : OUTCOMES[last.outcome]).toLowerCase()}`;
    }
    wasLost = isLost;
  });
}

const OUTCOMES: Readonly<Record<Reconnect["outcome"], string>> = {
  pending: "Trying",
  failed: "Failed",
  live: "Back; only new events",
  complete: "Back; nothing is missing",
  snapshot: "Back; the newest of each operation",
  gap: "Back; events in between are missing",
};

function Reconnects(): JSX.Element {
  const { state, attempts, since, transport, reason } = connection.value;
  return (
    <>
      <h2>
        {WORDS[state]} since {formatClock(since, zone.value)}
      </h2>
      {reason.error === undefined ? null : (
        <p>
          {toSentence(reason.error.message)} <Hint text={reason.error.hint} />
        </p>
      )}
      {transport === "sse" ? <p>WebSocket does not get through here: events come as a stream over HTTP.</p> : null}
      {attempts.length === 0 ? (
        <p class="two">The link was not lost since this page was opened.</p>
      ) : (
        <ol>
          {attempts.toReversed().map((each) => (
            <li key={each.at}>
              <span class="three">{formatClock(each.at, zone.value)}</span>
              <span>{OUTCOMES[each.outcome]}</span>
              <span class="two">{plain(each.cause)}</span>
            </li>
          ))}
        </ol>
      )}
      {state === "live" || state === "catching-up" ? null : (
        <div class="acts">
          <button type="button" class="btn" autofocus onClick={() => hub.retryNow()}>
            Try now
          </button>
        </div>
      )}
    </>
  );
}

/** How long ago the hub was heard, for a page that shows it large. */
export const heardAgo: ReadonlySignal<string> = computed(() =>
  lostSeconds.value === 0 ? "just now" : formatAgo(lostSeconds.value),
);

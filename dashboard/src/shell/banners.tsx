/** The one banner below the top: the gravest of what the reader must know about the link. */

import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { ConnectionLostError, type TidingsError } from "tidings";
import { useLocation } from "wouter-preact";
import { deviceNow } from "../clock.ts";
import { formatSpan } from "../format/span.ts";
import { toSentence } from "../format/text.ts";
import { formatTime } from "../format/time.ts";
import { connection, hub, isStale } from "../hub.ts";
import { Banner } from "../parts/banner.tsx";
import { Hint } from "../parts/hint.tsx";
import { Go, hrefOf, PATHS } from "../router.tsx";
import { hasUpgraded, needsSignIn, whoami } from "../session.ts";
import { zone } from "../settings.ts";
import { lostSeconds, nextTry, nextTryOrdinal } from "./link.tsx";

/** Close code of a hub that is there, and takes no one now. */
const TRY_AGAIN_LATER = 1013;

const seenGaps = signal<ReadonlySet<number>>(new Set());

/** The banner, or nothing. Each has a key: a press on a button must not reach that of the banner which replaces it. */
export function Banners(): JSX.Element | null {
  const [path] = useLocation();
  const { state, reason, heardAt, since } = connection.value;
  // The page for signing in says itself why it is there.
  if (path === PATHS.signIn && (needsSignIn.value || state === "closed")) return null;
  if (needsSignIn.value) return <SignInBanner />;
  if (state === "closed") {
    const error = reason.error;
    return (
      <Banner
        key="closed"
        gravity="grave"
        actions={
          <button type="button" class="btn" onClick={() => hub.retryNow()}>
            Try now
          </button>
        }
      >
        <b>{error === undefined ? "The link to the hub is closed." : toSentence(error.message)}</b>{" "}
        <Hint text={error?.hint} />
      </Banner>
    );
  }
  if (isStale.value) {
    const heard = heardAt ?? since;
    return (
      <Banner
        key="stale"
        gravity="warning"
        actions={
          <button type="button" class="btn" onClick={() => hub.retryNow()}>
            Try now
          </button>
        }
      >
        <b>The link to the hub was lost {formatSpan(lostSeconds.value)} ago.</b> What you see is as it was at{" "}
        {formatTime(heard, zone.value, deviceNow.value)}. {reasonOfHub(reason.error)} {triesSentence()}
      </Banner>
    );
  }
  if (state === "connecting" && reason.error !== undefined) {
    return (
      <Banner key="connecting" gravity="warning">
        <b>{toSentence(reason.error.message)}</b> <Hint text={reason.error.hint} /> {triesSentence()}
      </Banner>
    );
  }
  // Before a gap, which a page that is loaded again does not have.
  if (hasUpgraded.value) {
    return (
      <Banner
        key="upgraded"
        gravity="quiet"
        actions={
          <button type="button" class="btn" onClick={() => location.reload()}>
            Reload
          </button>
        }
      >
        <b>The hub was upgraded.</b> This page is of the version before.
      </Banner>
    );
  }
  const gap = connection.value.attempts.findLast((each) => each.outcome === "gap");
  if (gap !== undefined && !seenGaps.value.has(gap.at)) {
    return (
      <Banner
        key="gap"
        gravity="warning"
        actions={
          <button
            type="button"
            class="btn"
            onClick={() => {
              seenGaps.value = new Set([...seenGaps.value, gap.at]);
            }}
          >
            Understood
          </button>
        }
      >
        <b>The hub no longer has all that happened before {formatTime(gap.at, zone.value, deviceNow.value)}.</b> What
        runs now is complete; events in between are missing.
      </Banner>
    );
  }
  return null;
}

/** What the hub itself gives as the reason why it takes no one now, such as that it is opening its log. */
function reasonOfHub(error: TidingsError | undefined): string {
  return error instanceof ConnectionLostError && error.closeCode === TRY_AGAIN_LATER ? toSentence(error.message) : "";
}

function triesSentence(): string {
  const next = nextTry.value;
  if (next === "") return "";
  return next === "trying now"
    ? `The ${nextTryOrdinal.value} try is under way.`
    : `The ${nextTryOrdinal.value} try begins${next.replace("next try", "")}.`;
}

function SignInBanner(): JSX.Element {
  return (
    <Banner
      gravity="grave"
      actions={
        <Go class="btn" href={hrefOf("signIn")}>
          Sign in
        </Go>
      }
    >
      <b>{toSentence(whoami.value?.error?.message) || "This hub asks who you are."}</b>{" "}
      <Hint text={whoami.value?.error?.hint} />
    </Banner>
  );
}

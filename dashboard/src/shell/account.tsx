/** Who the reader is, at the top right, where the hub has access control. */

import { useComputed } from "@preact/signals";
import type { JSX } from "preact";
import { formatSpan } from "../format/span.ts";
import { plain } from "../format/text.ts";
import { LiveAge } from "../parts/age.tsx";
import { Icon } from "../parts/icon.tsx";
import { Popup, useFloating } from "../parts/popup.tsx";
import { Go, hrefOf } from "../router.tsx";
import { keyPlace, needsSignIn, signOut, whoami } from "../session.ts";

const SOURCES = {
  header: "with a key",
  cookie: "by a cookie of the server in front of the hub",
  request: "by the server in front of the hub",
  ticket: "with a ticket",
} as const;

/** The reader's name, with what they may do and how to sign out; a link to sign in; or nothing. */
export function Account(): JSX.Element | null {
  const { open, anchor, toggle } = useFloating();
  const expiry = useComputed(() => whoami.value?.expires_at);
  const words = useComputed(() => untilOf);
  const who = whoami.value;
  if (who === undefined || !who.identifies) return null;
  if (needsSignIn.value || who.subject === undefined) {
    return (
      <Go class="btn" href={hrefOf("signIn")}>
        Sign in
      </Go>
    );
  }
  const subject = plain(who.subject);
  const canSignOut = who.source === "header" || who.sign_out_url !== undefined;
  return (
    <>
      <button
        ref={anchor}
        type="button"
        class="btn plain"
        aria-expanded={open.value}
        aria-label={`Signed in as ${subject}`}
        onClick={toggle}
      >
        <Icon name="user" />
        <span class="not-phone cut account">{subject}</span>
      </button>
      <Popup open={open} anchor={anchor} class="who-am-i" label="Who you are" role="dialog">
        <h2>{subject}</h2>
        <p class="two">Signed in {who.source === undefined ? "" : `${SOURCES[who.source]}${keptWhere()}`}.</p>
        {who.expires_at === undefined ? null : (
          <p class="two">
            It expires <LiveAge at={expiry} words={words} />.
          </p>
        )}
        <h3>What you may do</h3>
        <ul class="mono">
          {(who.grants ?? []).map((grant) => (
            <li key={grant}>{plain(grant)}</li>
          ))}
        </ul>
        <div class="acts">
          {canSignOut ? (
            <button type="button" class="btn" onClick={signOut}>
              Sign out
            </button>
          ) : (
            <p class="three">Sign out where you signed in.</p>
          )}
        </div>
      </Popup>
    </>
  );
}

function keptWhere(): string {
  const place = keyPlace();
  if (place === undefined) return "";
  return place === "tab" ? ", kept until this tab is closed" : ", kept by this browser until you sign out";
}

function untilOf(_age: number): string {
  const at = whoami.peek()?.expires_at;
  const seconds = at === undefined ? 0 : (Date.parse(at) - Date.now()) / 1000;
  return seconds > 0 ? `in ${formatSpan(seconds)}` : "now";
}

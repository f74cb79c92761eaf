/** Signing in with a key, or where the operator of the hub has said. */

import { useSignal, useSignalEffect } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { plain, toSentence } from "../../format/text.ts";
import { mountPoint } from "../../mount.ts";
import { usePageTitle } from "../../page-title.ts";
import { Icon } from "../../parts/icon.tsx";
import { errorFacts } from "../../parts/panel.tsx";
import { hrefOf, navigate, useQuery } from "../../router.tsx";
import { type KeyPlace, signIn, whoami, withReturn } from "../../session.ts";
import "./sign-in.css";

/** The page. */
export function SignInPage(): JSX.Element {
  usePageTitle("Sign in");
  const back = backTo(useQuery().get("back"));
  const who = whoami.value;
  // Signing in elsewhere, by a cookie or a proxy, is noticed by itself.
  useSignalEffect(() => {
    const now = whoami.value;
    if (now !== undefined && (now.subject !== undefined || !now.identifies)) navigate(back, { replace: true });
  });
  const takesKeys = who === undefined || who.methods.includes("key") || who.methods.includes("token");
  return (
    <div class="sign-in">
      <h1>Sign in to {location.host}</h1>
      {who?.error === undefined ? null : (
        <p class="two">
          {toSentence(who.error.message)} {plain(who.error.hint)}
        </p>
      )}
      {who?.sign_in_url === undefined ? null : (
        <p>
          <a class="btn ink" href={safeAddress(withReturn(who.sign_in_url))}>
            Sign in where your organisation does
          </a>
        </p>
      )}
      {takesKeys ? <KeyForm /> : <p>This hub takes no keys here: open it by the address that was given to you.</p>}
    </div>
  );
}

function KeyForm(): JSX.Element {
  const key = useSignal("");
  const place = useSignal<KeyPlace>("tab");
  const refusal = useSignal<{ message: string; hint: string } | undefined>(undefined);
  const isBusy = useSignal(false);
  const field = useRef<HTMLInputElement>(null);
  const [keyId, errorId] = [useId(), useId()];
  useEffect(() => field.current?.focus(), []);
  const submit = async (event: Event) => {
    event.preventDefault();
    const given = key.value.trim();
    if (given === "" || isBusy.value) return;
    isBusy.value = true;
    try {
      refusal.value = await signIn(given, place.value);
    } catch (error) {
      refusal.value = errorFacts(error);
    } finally {
      isBusy.value = false;
      if (refusal.value !== undefined) field.current?.select();
    }
  };
  return (
    <form onSubmit={submit}>
      <label for={keyId}>Key or token</label>
      <div class="field">
        <Icon name="lock" />
        <input
          ref={field}
          id={keyId}
          type="password"
          autocomplete="current-password"
          spellcheck={false}
          aria-invalid={refusal.value !== undefined}
          aria-describedby={refusal.value === undefined ? undefined : errorId}
          value={key}
          onInput={(event) => {
            key.value = event.currentTarget.value;
            refusal.value = undefined;
          }}
        />
      </div>
      <p class="three note-s">
        <code>tidings key add NAME --grant 'read operations'</code> makes one. It is sent to this hub only.
      </p>
      {refusal.value === undefined ? null : (
        <p id={errorId} class="refusal" role="alert">
          <Icon name="error" />
          <span>
            <b>{toSentence(refusal.value.message)}</b> {plain(refusal.value.hint)}
          </span>
        </p>
      )}
      <label class="check">
        <input
          type="checkbox"
          checked={place.value === "browser"}
          onInput={(event) => {
            place.value = event.currentTarget.checked ? "browser" : "tab";
          }}
        />
        Stay signed in here, also after the browser was closed
      </label>
      <div class="acts">
        <button type="submit" class="btn ink" disabled={isBusy.value || key.value.trim() === ""}>
          Sign in
        </button>
      </div>
    </form>
  );
}

/** Where the reader was: only ever a page of this dashboard. */
export function backTo(given: string | null): string {
  const home = hrefOf("operations");
  if (given === null) return home;
  const base = new URL(`${mountPoint}/`, location.origin);
  const wanted = URL.canParse(given, base.href) ? new URL(given, base) : base;
  const isHere = wanted.origin === base.origin && wanted.pathname.startsWith(base.pathname);
  return isHere ? wanted.pathname + wanted.search : home;
}

/** An address of the operator; one that is not for a browser leads nowhere. */
function safeAddress(address: string): string {
  const isWeb = URL.canParse(address, location.href) && /^https?:$/.test(new URL(address, location.href).protocol);
  return isWeb ? address : hrefOf("signIn");
}

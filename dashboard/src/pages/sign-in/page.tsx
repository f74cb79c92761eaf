/** Signing in with a key, or where the operator of the hub has said. */

import { type Signal, useSignal, useSignalEffect } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { toSentence } from "../../format/text.ts";
import { addressOf } from "../../mount.ts";
import { usePageTitle } from "../../page-title.ts";
import { Hint } from "../../parts/hint.tsx";
import { Icon } from "../../parts/icon.tsx";
import { errorFacts } from "../../parts/panel.tsx";
import { hrefOf, navigate, useQuery } from "../../router.tsx";
import { type KeyPlace, signIn, whoami, withReturn } from "../../session.ts";
import { backTo } from "./back.ts";
import "./sign-in.css";

/** The page. */
export function SignInPage(): JSX.Element {
  usePageTitle("Sign in");
  const back = backTo(useQuery().get("back"), addressOf("./"));
  const who = whoami.value;
  const refusal = useSignal<Refusal | undefined>(undefined);
  // Signing in elsewhere, by a cookie or a proxy, is noticed by itself.
  useSignalEffect(() => {
    const now = whoami.value;
    if (now !== undefined && (now.subject !== undefined || !now.identifies)) navigate(back, { replace: true });
  });
  const takesKeys = who === undefined || who.methods.includes("key") || who.methods.includes("token");
  return (
    <div class="sign-in">
      <h1>Sign in to {location.host}</h1>
      {who?.error === undefined || who.error.code === NO_CREDENTIAL || refusal.value !== undefined ? null : (
        <p class="two">
          {toSentence(who.error.message)} <Hint text={who.error.hint} />
        </p>
      )}
      {who?.sign_in_url === undefined ? null : (
        <p>
          <a class="btn ink" href={safeAddress(withReturn(who.sign_in_url))}>
            Sign in where your organisation does
          </a>
        </p>
      )}
      {takesKeys ? (
        <KeyForm refusal={refusal} />
      ) : (
        <p>This hub takes no keys here: open it by the address that was given to you.</p>
      )}
    </div>
  );
}

/** The hub's code for a request without a credential. Its hint is for programs; the form is what a person can do. */
const NO_CREDENTIAL = "unauthenticated";

interface Refusal {
  readonly message: string;
  readonly hint: string;
}

function KeyForm({ refusal }: { readonly refusal: Signal<Refusal | undefined> }): JSX.Element {
  const key = useSignal("");
  const place = useSignal<KeyPlace>("tab");
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
            <b>{toSentence(refusal.value.message)}</b> <Hint text={refusal.value.hint} />
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

/** An address of the operator; one that is not for a browser leads nowhere. */
function safeAddress(address: string): string {
  const isWeb = URL.canParse(address, location.href) && /^https?:$/.test(new URL(address, location.href).protocol);
  return isWeb ? address : hrefOf("signIn");
}

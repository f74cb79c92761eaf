/** Who the reader is to the hub, what they may do, and signing in and out. */

import { computed, effect, type ReadonlySignal, signal } from "@preact/signals";
import { TidingsError } from "tidings";
import { grantCovers } from "./grants.ts";
import { connection, hub } from "./hub.ts";
import { mountPoint } from "./mount.ts";

/** Answer of `GET v1/whoami`. */
export interface WhoAmI {
  readonly version: string;
  /** Id of the bundle of pages that the hub serves. */
  readonly build?: string;
  readonly started_at: string;
  /** Whether the hub has access control; without it, everyone may do everything. */
  readonly identifies: boolean;
  /** Kinds of credentials that the hub takes. */
  readonly methods: readonly ("key" | "token" | "forward" | "cookie")[];
  readonly sign_in_url?: string;
  readonly sign_out_url?: string;
  readonly subject?: string;
  readonly grants?: readonly string[];
  readonly source?: "header" | "cookie" | "request" | "ticket";
  readonly expires_at?: string;
  /** Why there is no subject. */
  readonly error?: { readonly code: string; readonly message: string; readonly hint?: string };
  /** The operator's links of each operation to other systems, as templates. */
  readonly links?: readonly { readonly label: string; readonly template: string }[];
}

const answer = signal<WhoAmI | undefined>(undefined);

/** What the hub says about the reader; undefined until it was asked. */
export const whoami: ReadonlySignal<WhoAmI | undefined> = answer;

/** Id of the bundle that this page is of, as the hub wrote it into the page; undefined from a development server. */
export const ownBuild = document.querySelector<HTMLMetaElement>("meta[name=tidings-build]")?.content;

/** Whether the hub serves other pages than this one. */
export const hasUpgraded: ReadonlySignal<boolean> = computed(() => {
  const build = answer.value?.build;
  return build !== undefined && ownBuild !== undefined && build !== ownBuild;
});

/** Whether the reader must sign in before anything can be shown. */
export const needsSignIn: ReadonlySignal<boolean> = computed(() => {
  const who = answer.value;
  return who?.identifies === true && who.subject === undefined;
});

const KEY = `tidings:${mountPoint}:key`;

/** Where the key is kept: in this tab, or in this browser. */
export type KeyPlace = "tab" | "browser";

const PLACES = ["tab", "browser"] as const;

/** The storage of a place; none where the browser forbids that one. */
function storageOf(place: KeyPlace): Storage | null {
  try {
    return place === "tab" ? sessionStorage : localStorage;
  } catch {
    return null;
  }
}

/** Where the key of the reader is kept; undefined if it lasts as long as the page. */
export function keyPlace(): KeyPlace | undefined {
  return PLACES.find((place) => storageOf(place)?.getItem(KEY));
}

/** Asks the hub who the reader is. */
export async function askWhoAmI(): Promise<WhoAmI> {
  const who = await hub.request<WhoAmI>("v1/whoami");
  answer.value = who;
  return who;
}

/**
 * Signs in with a key or a token, and keeps it if the hub takes it.
 *
 * @returns why the hub does not take it; undefined if it does.
 */
export async function signIn(key: string, place: KeyPlace): Promise<{ message: string; hint: string } | undefined> {
  hub.signIn(key);
  try {
    const who = await askWhoAmI();
    if (who.subject !== undefined) {
      keep(key, place);
      return undefined;
    }
    hub.signOut();
    const { message = "The hub does not accept this key", hint = "" } = who.error ?? {};
    return { message, hint };
  } catch (error) {
    hub.signOut();
    if (error instanceof TidingsError) return { message: error.message, hint: error.hint };
    throw error;
  }
}

/** Keeps a key in the place of all others: an earlier one would be found first, and be refused. */
function keep(key: string, place: KeyPlace): void {
  forgetKeys();
  try {
    storageOf(place)?.setItem(KEY, key);
  } catch {
    // Without storage the key lasts as long as the page.
  }
}

function forgetKeys(): void {
  for (const place of PLACES) storageOf(place)?.removeItem(KEY);
}

/** Forgets the key and closes the link. Signing out elsewhere needs the address that the hub names. */
export function signOut(): void {
  forgetKeys();
  hub.signOut();
  const who = answer.peek();
  if (who === undefined) return;
  const { subject: _subject, grants: _grants, source: _source, expires_at: _expires, links: _links, ...rest } = who;
  answer.value = rest;
  const elsewhere = who.sign_out_url;
  if (elsewhere !== undefined && who.source !== "header") location.assign(withReturn(elsewhere));
}

/** An address of the operator with the address of this page in the place of `{url}`. */
export function withReturn(address: string): string {
  return address.replace("{url}", encodeURIComponent(location.href));
}

/** Uses the key that this browser keeps, and asks who the reader is, now and after each reconnect. */
export function beginSession(): void {
  const place = keyPlace();
  try {
    if (place !== undefined) hub.signIn(storageOf(place)?.getItem(KEY) ?? "");
  } catch {
    forgetKeys(); // something else has written what no hub can take
  }
  ask();
  let before = connection.peek().state;
  effect(() => {
    const { state } = connection.value;
    // Back: the hub may be a newer one. Closed: the key may have been revoked, or have expired.
    if (state !== before && (state === "live" || state === "closed")) ask();
    before = state;
  });
  // Signed in elsewhere, in another tab: noticed when the reader comes back.
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible" && needsSignIn.peek()) ask();
  });
}

function ask(): void {
  void askWhoAmI().catch(ignoreUnreachable);
}

function ignoreUnreachable(error: unknown): void {
  // The link to the hub shows what is wrong, and asks again when it is back.
  if (!(error instanceof TidingsError)) throw error;
}

/** Whether the reader sees everything of a channel, or of all with `*`: what is empty for others may not be empty. */
export function seesAll(channel: string): boolean {
  const who = answer.value;
  if (who === undefined || !who.identifies) return true;
  return (who.grants ?? []).some((line) => ["admin", "read *", `read ${channel}`].includes(line.trim()));
}

/**
 * Whether the reader has a grant. The hub decides; this only shows a lock in the place of what it would refuse.
 *
 * @param action - `read`, `publish`, `cancel`, `details` or `admin`.
 * @param path - What the action is about: a channel such as `operations`, of which a part is enough, or a path such as
 *   `operations/import-1`. Empty for actions without a path.
 */
export function mayDo(action: string, path = ""): boolean {
  const who = answer.value;
  if (who === undefined || !who.identifies) return true;
  return (who.grants ?? []).some((line) => grantCovers(line, action, path));
}

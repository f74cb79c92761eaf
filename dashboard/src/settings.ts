/** What the reader has chosen: kept by this browser, the same in all of its tabs, and never sent to the hub. */

import { effect, type Signal, signal } from "@preact/signals";
import type { Zone } from "./format/time.ts";
import { mountPoint } from "./mount.ts";

export type Theme = "system" | "light" | "dark";

/** How points in time are written: as ages (`12 min ago`), or as times of day. */
export type Ages = "relative" | "absolute";

const PREFIX = `tidings:${mountPoint}:`;

interface Stored {
  readonly value: Signal<unknown>;
  readonly read: (json: unknown) => unknown;
}

const stored = new Map<string, Stored>();

/**
 * A setting that this browser keeps. It follows changes made in other tabs, and is only a signal where the browser
 * allows no storage.
 *
 * @param name - Name of the setting, without the prefix of this hub.
 * @param read - Returns the setting that a stored JSON value means, or a default for everything else.
 */
export function setting<T>(name: string, read: (json: unknown) => T): Signal<T> {
  const key = PREFIX + name;
  const value = signal(read(load(key)));
  stored.set(key, { value, read });
  let saved = JSON.stringify(value.peek());
  effect(() => {
    const json = JSON.stringify(value.value);
    if (json !== saved) save(key, json);
    saved = json;
  });
  return value;
}

function load(key: string): unknown {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "null");
  } catch {
    return null;
  }
}

/** Keys of settings that this browser did not take, as its storage is full or forbidden: they last as long as the page. */
const unsaved = new Set<string>();

function save(key: string, json: string): void {
  try {
    localStorage.setItem(key, json);
    unsaved.delete(key);
  } catch {
    unsaved.add(key);
  }
}

/** A setting as all tabs have it now: an event about a change in another tab may come later. */
export function sharedValue(name: string): unknown {
  const key = PREFIX + name;
  return unsaved.has(key) ? stored.get(key)?.value.peek() : load(key);
}

addEventListener("storage", (event) => {
  const found = event.key === null ? undefined : stored.get(event.key);
  if (found !== undefined && event.key !== null) found.value.value = found.read(load(event.key));
});

/** A list of texts as a setting: what is not one is left out. */
export function textList(json: unknown): readonly string[] {
  return Array.isArray(json) ? json.filter((each) => typeof each === "string") : [];
}

function oneOf<T extends string>(...choices: readonly [T, ...T[]]): (json: unknown) => T {
  return (json) => choices.find((each) => each === json) ?? choices[0];
}

/** Colours of the page. */
export const theme = setting<Theme>("theme", oneOf("system", "light", "dark"));

/** Zone of all times, on every page, chart and in copied text. */
export const zone = setting<Zone>("zone", oneOf("local", "utc"));

/** Whether points in time are written as ages or as times of day. */
export const ages = setting<Ages>("ages", oneOf("relative", "absolute"));

/** Whether single letters are commands of the keyboard. */
export const letterKeys = setting<boolean>("letter-keys", (json) => json !== false);

effect(() => {
  if (theme.value === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme.value;
});

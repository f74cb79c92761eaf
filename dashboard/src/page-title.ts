/** The title and the icon of the tab: the state of the link and what needs attention, also in a hidden tab. */

import { computed, effect, signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { attentionCount } from "./attention.ts";
import { isVisible } from "./clock.ts";
import { formatSpan } from "./format/span.ts";
import { formatMinute } from "./format/time.ts";
import { connection, isStale } from "./hub.ts";
import { addressOf } from "./mount.ts";
import { zone } from "./settings.ts";
import { lostSeconds } from "./shell/link.tsx";

const page = signal("");

/** Names the page in the title of the tab while a component is shown: `Operations`. */
export function usePageTitle(title: string): void {
  useEffect(() => {
    page.value = title;
  }, [title]);
}

const state = computed(() => {
  if (connection.value.state === "closed") return "closed";
  if (isStale.value) return "stale";
  if (connection.value.state === "connecting") return "connecting";
  return attentionCount.value > 0 ? "attention" : "live";
});

const prefix = computed(() => {
  if (state.value === "closed") return "Closed";
  if (state.value === "stale") {
    if (isVisible.value) return `Stale ${formatSpan(lostSeconds.value)}`;
    return `Stale since ${formatMinute(connection.value.heardAt ?? connection.value.since, zone.value)}`;
  }
  const count = attentionCount.value;
  return count === 0 ? "" : `${count} ${count === 1 ? "needs" : "need"} attention`;
});

/** Keeps the title and the icon of the tab. */
export function keepTitle(): void {
  effect(() => {
    document.title = [prefix.value, page.value, "tidings"].filter(Boolean).join(" · ");
  });
  effect(() => {
    const href = addressOf(`icons/${state.value}.svg`).href;
    const icon = document.querySelector<HTMLLinkElement>("link[rel=icon]");
    if (icon !== null && icon.href !== href) icon.href = href;
  });
}

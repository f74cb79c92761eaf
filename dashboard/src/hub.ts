/** The one connection of the page to its hub, and what the page derives from its state. */

import { computed, effect, type ReadonlySignal, signal } from "@preact/signals";
import { type ConnectionState, connect, type Hub, type Store } from "tidings";
import { setHubClock, tick } from "./clock.ts";
import { addressOf } from "./mount.ts";
import { afterState, NEVER_LIVE } from "./staleness.ts";

/** The hub that serves this page. */
export const hub: Hub = connect(addressOf("./"));

/** A store of the client as a signal. It is subscribed while someone reads the signal. */
export function fromStore<T>(store: Store<T>): ReadonlySignal<T> {
  let stop: (() => void) | undefined;
  const value = signal(store.getSnapshot(), {
    watched() {
      stop = store.subscribe(() => {
        value.value = store.getSnapshot();
      });
      value.value = store.getSnapshot();
    },
    unwatched() {
      stop?.();
      stop = undefined;
    },
  });
  return value;
}

/** State of the link to the hub. */
export const connection: ReadonlySignal<ConnectionState> = fromStore(hub.connection);

let staleness = NEVER_LIVE;

/** Whether what the page shows may be old: the link was there, and is lost. */
export const isStale: ReadonlySignal<boolean> = computed(() => {
  staleness = afterState(staleness, connection.value.state);
  return staleness.isStale;
});

/** Why actions are not possible now; empty while they are. */
export const whyNoActions: ReadonlySignal<string> = computed(() => {
  const { state } = connection.value;
  if (state === "live" || state === "catching-up") return "";
  return state === "closed" ? "Not connected to the hub" : "The link to the hub is lost";
});

// One attribute freezes and greys everything that came from the hub (styles/lists.css); no row is rendered for it.
effect(() => {
  if (isStale.value) document.documentElement.dataset["link"] = "stale";
  else delete document.documentElement.dataset["link"];
});

setHubClock(() => (isStale.peek() ? undefined : hub.clock.now()));

effect(() => {
  void connection.value.state;
  tick();
});

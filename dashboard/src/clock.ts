/** The time that ages count from: one timer for all of them, none in a hidden tab. */

import { type ReadonlySignal, signal } from "@preact/signals";

const TICK_MS = 1_000;

let timer: ReturnType<typeof setInterval> | undefined;

const watched = new Set<string>();

function watchedSignal(name: string) {
  return signal(Date.now(), {
    watched() {
      watched.add(name);
      schedule();
    },
    unwatched() {
      watched.delete(name);
      schedule();
    },
  });
}

const device = watchedSignal("device");
const hubTime = watchedSignal("hub");

/** Milliseconds since 1970 by this device, each second while the page is visible. */
export const deviceNow: ReadonlySignal<number> = device;

/**
 * Milliseconds since 1970 by the hub's clock, each second while the page is visible. It stands still while the link is
 * lost: what the page shows is as it was then.
 */
export const now: ReadonlySignal<number> = hubTime;

let readHub: () => number | undefined = Date.now;

/** Sets where the hub's time comes from. `read` returns undefined while it stands still. */
export function setHubClock(read: () => number | undefined): void {
  readHub = read;
  tick();
}

function schedule(): void {
  const isWanted = watched.size > 0 && document.visibilityState === "visible";
  if (isWanted && timer === undefined) {
    tick();
    timer = setInterval(tick, TICK_MS);
  } else if (!isWanted && timer !== undefined) {
    clearInterval(timer);
    timer = undefined;
  }
}

/** Reads the clocks now: where the hub's becomes known, ages by this device's may be hours off until the next second. */
export function tick(): void {
  device.value = Date.now();
  hubTime.value = readHub() ?? hubTime.peek();
}

const visible = signal(document.visibilityState === "visible");

/** Whether the page is visible; in a hidden one, no time ticks. */
export const isVisible: ReadonlySignal<boolean> = visible;

document.addEventListener("visibilitychange", () => {
  visible.value = document.visibilityState === "visible";
  schedule();
});

/**
 * "Notify me when it ends": asked for on one page, shown once, by one of all tabs of this browser, also when the page
 * that asked shows something else by then.
 */

import { effect } from "@preact/signals";
import { isLive, nameOf } from "../../format/operation.ts";
import type { Row } from "../../format/row.ts";
import { plain } from "../../format/text.ts";
import { hrefOf, navigate } from "../../router.tsx";
import { setting, sharedValue, textList } from "../../settings.ts";
import { liveRow } from "./live-row.ts";

/** Operations that one browser waits for. */
const MAX_AWAITED = 50;

const NAME = "notify";

/** How long a tab keeps the lock of an end that it has shown. */
const HELD_MS = 10_000;

/** Ids of the operations whose end is awaited: the same in all tabs. */
export const awaited = setting(NAME, (json) => textList(json).slice(-MAX_AWAITED));

/** Why this browser shows no notifications; empty if it does, or may be asked. */
export function whyNotNotify(): string {
  if (!window.isSecureContext) return "Browsers notify only over https, or from this machine";
  if (typeof Notification === "undefined") return "This browser has no notifications";
  return Notification.permission === "denied" ? "Notifications are blocked in the browser’s settings of this page" : "";
}

/** Waits for the end of an operation, or no longer. Returns why it is not possible; empty if it is. */
export async function toggleAwaited(id: string): Promise<string> {
  if (awaited.peek().includes(id)) {
    forget(id);
    return "";
  }
  const why = whyNotNotify();
  if (why !== "") return why;
  if (Notification.permission !== "granted" && !canNotify()) return "Browsers on this device notify only for apps";
  if ((await Notification.requestPermission()) !== "granted") return "Notifications were not allowed";
  awaited.value = [...awaited.peek(), id].slice(-MAX_AWAITED);
  return "";
}

/** Whether pages may make notifications at all: Chrome on Android throws. Without permission none is shown. */
function canNotify(): boolean {
  try {
    return new Notification("") instanceof Object;
  } catch {
    return false;
  }
}

function forget(id: string): void {
  awaited.value = awaited.peek().filter((each) => each !== id);
}

const watches = new Map<string, () => void>();

/** Watches the awaited operations, in each tab; begun once by the page. */
export function watchAwaited(): () => void {
  return effect(() => {
    const wanted = new Set(awaited.value);
    for (const id of wanted) if (!watches.has(id)) watches.set(id, watchEnd(id));
    for (const [id, stop] of watches) {
      if (wanted.has(id)) continue;
      watches.delete(id);
      stop();
    }
  });
}

function watchEnd(id: string): () => void {
  const row = liveRow(id);
  let wasLive = false;
  return effect(() => {
    const now = row.value;
    if (now === undefined) return;
    if (isLive(now)) wasLive = true;
    else if (wasLive) void claimEnd(now);
  });
}

/**
 * Shows the notification unless another tab has. The first that takes the lock removes the id, and keeps the lock for a
 * while: what one tab stores, another may read only some time later.
 */
async function claimEnd(row: Row): Promise<void> {
  const id = row.operation_id;
  const show = () => {
    if (!isStillAwaited(id)) return;
    forget(id);
    showEnd(row);
  };
  try {
    await navigator.locks.request(`tidings:notify:${id}:${row.attempt}`, { ifAvailable: true }, async (lock) => {
      if (lock === null) return;
      show();
      await new Promise((resolve) => setTimeout(resolve, HELD_MS));
    });
  } catch {
    show(); // plain http has no locks, and a browser that forbids storage refuses them: tabs then share nothing
  }
}

function isStillAwaited(id: string): boolean {
  return textList(sharedValue(NAME)).includes(id);
}

function showEnd(row: Row): void {
  const body = row.error ? `${plain(row.error.code)}: ${plain(row.error.message)}` : plain(row.reason ?? row.message);
  const note = new Notification(`${nameOf(row)}: ${row.state}`, { body, tag: `tidings ${row.operation_id}` });
  note.onclick = () => {
    window.focus();
    navigate(hrefOf("operation", { id: row.operation_id }));
    note.close();
  };
}

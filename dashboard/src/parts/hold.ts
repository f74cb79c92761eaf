/** Whether a list is held: rows must not move under a pointer, a finger, the focus or a scroll. */

import { type ReadonlySignal, useSignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect } from "preact/hooks";

/** Milliseconds for which a list stays held after its reader has left it. */
const AFTER_MS = 1_000;

/** What holds a list. */
export interface HoldOptions {
  /** Milliseconds after which a pointer that rests in the list holds it no longer; default never. */
  readonly restMs?: number;
}

/** Follow whether the reader is at `list`. */
export function useHold(list: RefObject<HTMLElement>, { restMs }: HoldOptions = {}): ReadonlySignal<boolean> {
  const held = useSignal(false);
  useEffect(() => {
    const element = list.current;
    if (element === null) return;
    const by = new Set<string>();
    let release: ReturnType<typeof setTimeout> | undefined;
    let rest: ReturnType<typeof setTimeout> | undefined;
    const hold = (reason: string) => {
      by.add(reason);
      clearTimeout(release);
      held.value = true;
    };
    const leave = (reason: string) => {
      by.delete(reason);
      if (by.size > 0) return;
      clearTimeout(release);
      release = setTimeout(() => {
        held.value = false;
      }, AFTER_MS);
    };
    const pointed = () => {
      hold("pointer");
      clearTimeout(rest);
      if (restMs !== undefined) rest = setTimeout(() => leave("pointer"), restMs);
    };
    const scrolled = () => {
      if (held.peek() || scrollY > 0) {
        hold("scroll");
        leave("scroll");
      }
    };
    const ended = new AbortController();
    const { signal } = ended;
    element.addEventListener("pointermove", pointed, { signal });
    element.addEventListener("pointerleave", () => leave("pointer"), { signal });
    element.addEventListener("focusin", () => hold("focus"), { signal });
    element.addEventListener("focusout", () => leave("focus"), { signal });
    element.addEventListener("touchstart", () => hold("touch"), { signal, passive: true });
    element.addEventListener("touchend", () => leave("touch"), { signal });
    element.addEventListener("touchcancel", () => leave("touch"), { signal });
    addEventListener("scroll", scrolled, { signal, passive: true });
    return () => {
      ended.abort();
      clearTimeout(release);
      clearTimeout(rest);
    };
  }, [list, held, restMs]);
  return held;
}

/** When a list is under the reader's hand: the pointer or the focus is in it, a touch is down, or it scrolls. */

import { type ReadonlySignal, useSignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect } from "preact/hooks";

/** Milliseconds for which a list stays held after the last sign of a hand. */
export const RELEASE_MS = 1_000;

/** Gathers the signs of a hand, and reports a second after the last one that the list is let go. */
export class Hand {
  readonly #onChange: (isHeld: boolean) => void;
  readonly #signs = new Set<string>();
  #release: ReturnType<typeof setTimeout> | undefined;

  constructor(onChange: (isHeld: boolean) => void) {
    this.#onChange = onChange;
  }

  /** A sign that lasts: the pointer, the focus or a touch is in the list. */
  add(sign: string): void {
    this.#signs.add(sign);
    clearTimeout(this.#release);
    this.#onChange(true);
  }

  /** A sign that was added is over. */
  remove(sign: string): void {
    if (this.#signs.delete(sign)) this.#wait();
  }

  /** A sign without an end of its own, as each step of a scroll. */
  pulse(): void {
    this.#onChange(true);
    this.#wait();
  }

  /** Lets go at once. */
  letGo(): void {
    this.#signs.clear();
    clearTimeout(this.#release);
    this.#onChange(false);
  }

  #wait(): void {
    clearTimeout(this.#release);
    if (this.#signs.size === 0) this.#release = setTimeout(this.#onChange, RELEASE_MS, false);
  }
}

/** What holds a list. */
export interface HoldOptions {
  /** Milliseconds after which a pointer that rests in the list holds it no longer; default never. */
  readonly restMs?: number;
}

/**
 * Whether a list is under the reader's hand.
 *
 * @param list - The element of the list. What floats above it, such as a menu of a row, belongs to it.
 */
export function useHold(list: RefObject<HTMLElement>, { restMs }: HoldOptions = {}): ReadonlySignal<boolean> {
  const isHeld = useSignal(false);
  useEffect(() => {
    const element = list.current;
    if (element === null) return;
    const hand = new Hand((held) => {
      isHeld.value = held;
    });
    let rest: ReturnType<typeof setTimeout> | undefined;
    const point = (event: PointerEvent) => {
      if (event.pointerType === "touch") return;
      hand.add("pointer");
      clearTimeout(rest);
      if (restMs !== undefined) rest = setTimeout(() => hand.remove("pointer"), restMs);
    };
    const leaveFocus = (event: FocusEvent) => {
      const to = event.relatedTarget;
      if (!(to instanceof Node && element.contains(to))) hand.remove("focus");
    };
    const ended = new AbortController();
    const options = { signal: ended.signal, passive: true };
    element.addEventListener("pointerenter", point, options);
    element.addEventListener("pointermove", point, options);
    element.addEventListener("pointerleave", () => hand.remove("pointer"), options);
    element.addEventListener("focusin", () => hand.add("focus"), options);
    element.addEventListener("focusout", leaveFocus, options);
    element.addEventListener("touchstart", () => hand.add("touch"), options);
    addEventListener("touchend", () => hand.remove("touch"), options);
    addEventListener("touchcancel", () => hand.remove("touch"), options);
    addEventListener("scroll", () => hand.pulse(), options);
    return () => {
      ended.abort();
      clearTimeout(rest);
      hand.letGo();
    };
  }, [list, restMs, isHeld]);
  return isHeld;
}

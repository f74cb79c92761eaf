/**
 * When changes are published: at most once per frame while the page is visible, per second while it is hidden; and when
 * a page counts as hidden.
 */

/** How long a page is hidden before that changes anything, in milliseconds: people switch between tabs. */
const HIDDEN_AFTER_MS = 10_000;
/** Delay of a publication while the page is hidden, in milliseconds. */
const HIDDEN_MS = 1_000;
/** Delay where there are no frames, as in Node and in workers, in milliseconds. */
const TIMER_MS = 50;

/** Calls something once, a while after it was asked to. */
export interface Schedule {
  /** Asks for a call, unless one is due already. */
  request(): void;
  /** Prevents the call that is due. */
  cancel(): void;
}

/** Returns a schedule of `callback` by the frames of the page, or by a timer where there is none. */
export function makeSchedule(callback: () => void): Schedule {
  let stop: (() => void) | undefined;

  function run(): void {
    cancel();
    callback();
  }

  function cancel(): void {
    stop?.();
    stop = undefined;
  }

  function later(ms: number): () => void {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  }

  function start(): () => void {
    const { document, requestAnimationFrame, cancelAnimationFrame } = globalThis as Partial<typeof globalThis>;
    if (document === undefined || requestAnimationFrame === undefined) return later(TIMER_MS);
    let stopWaiting = wait();
    // A hidden page gets no frames. When visibility changes, wait again: for a timer if hidden, else for a frame.
    const changed = (): void => {
      stopWaiting();
      stopWaiting = wait();
    };
    document.addEventListener("visibilitychange", changed);
    return () => {
      document.removeEventListener("visibilitychange", changed);
      stopWaiting();
    };

    function wait(): () => void {
      if (document?.visibilityState === "hidden") return later(HIDDEN_MS);
      const frame = requestAnimationFrame?.(run) ?? 0;
      return () => cancelAnimationFrame?.(frame);
    }
  }

  return {
    request: () => {
      stop ??= start();
    },
    cancel,
  };
}

/** Call `changed` with true when the page was hidden for some time, and with false when it is shown again. */
export function followVisibility(changed: (isHidden: boolean) => void): () => void {
  const { document } = globalThis as Partial<typeof globalThis>;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isHidden = false;
  const set = (hidden: boolean): void => {
    if (hidden !== isHidden) changed(hidden);
    isHidden = hidden;
  };
  const follow = (): void => {
    clearTimeout(timer);
    if (document?.visibilityState === "hidden") timer = setTimeout(() => set(true), HIDDEN_AFTER_MS);
    else set(false);
  };
  document?.addEventListener("visibilitychange", follow);
  follow();
  return () => {
    clearTimeout(timer);
    document?.removeEventListener("visibilitychange", follow);
  };
}

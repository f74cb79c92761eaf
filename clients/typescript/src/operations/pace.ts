/** How often a page needs its events: less often while it is hidden. */

/** How long a page is hidden before its pace changes, in milliseconds: people switch between tabs. */
const SLOW_AFTER_MS = 10_000;
/** At most one delivery of events per this many milliseconds, conflated in between. */
const SHOWN_PACE_MS = 250;
/** The same for a hidden page, of which only the title and the icon can be seen. */
const HIDDEN_PACE_MS = 5_000;

/** Call `pace` with milliseconds when the page was hidden for some time, and when it is shown again. */
export function followVisibility(pace: (ms: number) => void): () => void {
  const { document } = globalThis as Partial<typeof globalThis>;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isSlow = false;
  const set = (slow: boolean): void => {
    if (slow !== isSlow) pace(slow ? HIDDEN_PACE_MS : SHOWN_PACE_MS);
    isSlow = slow;
  };
  const changed = (): void => {
    clearTimeout(timer);
    if (document?.visibilityState === "hidden") timer = setTimeout(() => set(true), SLOW_AFTER_MS);
    else set(false);
  };
  document?.addEventListener("visibilitychange", changed);
  changed();
  return () => {
    clearTimeout(timer);
    document?.removeEventListener("visibilitychange", changed);
  };
}

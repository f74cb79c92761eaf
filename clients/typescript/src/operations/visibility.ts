/** When a page counts as hidden. */

/** How long a page is hidden before that changes anything, in milliseconds: people switch between tabs. */
const HIDDEN_AFTER_MS = 10_000;

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

/** Whether the view of a log follows its end: decided by the reader's own scrolling, never by new lines. */

/** Where a scrolled view is, in pixels; `top` may be fractional. */
export interface ScrollPlace {
  readonly top: number;
  readonly height: number;
  readonly viewport: number;
}

/** Browsers round heights and not `scrollTop`, so the end may be a fraction of a pixel away when it is reached. */
const ROUNDING_PX = 1;
/** Smallest movement that counts: sub-pixel corrections are not the reader's. */
const MOVED_PX = 0.5;

/** Return whether the view follows after it moved from `before` to `now`: one pixel up releases it. */
export function followsAfterScroll(following: boolean, before: ScrollPlace, now: ScrollPlace): boolean {
  const moved = now.top - before.top;
  const shrunk = now.height < before.height || now.viewport > before.viewport;
  if (moved <= -MOVED_PX) return shrunk ? following : false;
  const atEnd = now.height - now.viewport - now.top <= ROUNDING_PX;
  return moved >= MOVED_PX && atEnd ? true : following;
}

/** Return `↓ 214 new lines`; empty without new lines. */
export function unreadLabel(lines: number): string {
  if (lines === 0) return "";
  return `↓ ${lines.toLocaleString("en")} new ${lines === 1 ? "line" : "lines"}`;
}

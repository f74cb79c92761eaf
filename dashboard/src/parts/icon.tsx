/** Icons from the sprite of the page. */

import type { JSX } from "preact";
import { LOOK_WORDS, type Look } from "../format/operation.ts";

/** Names of the icons in `index.html` that are not looks of operations. */
export type IconName =
  | Look
  | "live"
  | "warning"
  | "error"
  | "search"
  | "down"
  | "right"
  | "left"
  | "copy"
  | "theme"
  | "settings"
  | "plus"
  | "edit"
  | "close"
  | "more"
  | "check"
  | "lock"
  | "user"
  | "pause"
  | "play"
  | "link"
  | "bell"
  | "download"
  | "list"
  | "names"
  | "events"
  | "system";

/** An icon beside a word that says the same: hidden from screen readers. */
export function Icon({ name, class: added }: { readonly name: IconName; readonly class?: string }): JSX.Element {
  return (
    <svg class={added === undefined ? "icon" : `icon ${added}`} aria-hidden="true">
      <use href={`#i-${name}`} />
    </svg>
  );
}

/** The shape and colour of a state, with its word for screen readers. */
export function StateIcon({ look }: { readonly look: Look }): JSX.Element {
  return (
    <>
      <span class="sr">{LOOK_WORDS[look]}</span>
      <Icon name={look} class={`s-${look}`} />
    </>
  );
}

/** A message below the top of the page. The shell shows one at a time, the gravest. */

import type { ComponentChildren, JSX } from "preact";
import { Icon } from "./icon.tsx";

/** `grave`: nothing works until the reader acts. `warning`: what is shown may be wrong. `quiet`: it passes by itself. */
export type Gravity = "grave" | "warning" | "quiet";

const ICONS = { grave: "failed", warning: "warning", quiet: "running" } as const;

/** Properties of {@link Banner}. */
export interface BannerProps {
  readonly gravity: Gravity;
  readonly children: ComponentChildren;
  /** Buttons at the right. */
  readonly actions?: ComponentChildren;
}

/** A banner. */
export function Banner({ gravity, children, actions }: BannerProps): JSX.Element {
  return (
    <div class={gravity === "warning" ? "banner" : `banner ${gravity}`}>
      <Icon name={ICONS[gravity]} />
      <p>{children}</p>
      {actions}
    </div>
  );
}

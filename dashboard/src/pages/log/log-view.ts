/** How the reader wants logs to be shown: kept by this browser. */

import { setting } from "../../settings.ts";

export interface LogView {
  /** Long lines go on below, instead of beyond the edge. */
  readonly isWrapped: boolean;
  readonly hasTimes: boolean;
  /** Messages as they were sent, with their escapes visible. */
  readonly isRaw: boolean;
}

export const logView = setting<LogView>("log-view", (json) => {
  const kept: { [name in keyof LogView]?: unknown } = typeof json === "object" && json !== null ? json : {};
  return { isWrapped: kept.isWrapped !== false, hasTimes: kept.hasTimes !== false, isRaw: kept.isRaw === true };
});

/** Changes one choice. */
export function changeView(changes: Partial<LogView>): void {
  logView.value = { ...logView.peek(), ...changes };
}

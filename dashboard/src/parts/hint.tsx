/** A hint of the hub, in which commands stand between backticks. */

import type { JSX } from "preact";
import { plain } from "../format/text.ts";

/** The text of a hint, with its commands as code. */
export function Hint({ text }: { readonly text: string | undefined | null }): JSX.Element {
  // Every second part is between two backticks; a lone one stays as it is.
  const parts = plain(text).split(/`([^`]+)`/);
  return <>{parts.map((part, index) => (index % 2 === 1 ? <code key={index}>{part}</code> : part))}</>;
}

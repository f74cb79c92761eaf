/** What the reader may not do or see: a lock with the grant that is missing. */

import type { JSX } from "preact";
import { Icon } from "./icon.tsx";

/** A lock in the place of something that needs a grant: `cancel:operations`. */
export function Lock({ grant, what }: { readonly grant: string; readonly what: string }): JSX.Element {
  return (
    <span class="lock" title={`${what} needs the grant ${grant}`}>
      <Icon name="lock" />
      <span>
        {what} needs the grant <code>{grant}</code>
      </span>
    </span>
  );
}

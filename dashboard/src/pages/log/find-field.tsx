/** The field in which one writes what to find, with the number of the match and of all. */

import type { Signal } from "@preact/signals";
import type { JSX, RefObject } from "preact";
import { grouped } from "../../format/span.ts";
import { Icon } from "../../parts/icon.tsx";
import { MAX_MATCHES } from "./log-search.ts";

export interface FindFieldProps {
  readonly field: RefObject<HTMLInputElement>;
  readonly sought: Signal<string>;
  /** Number of matches. */
  readonly found: number;
  /** Number of the match that the reader is at, from 1; 0 without matches. */
  readonly at: number;
  /** Goes to the next match (1) or to the one before (-1). */
  readonly onStep: (by: number) => void;
}

/** The field. Enter goes to the next match, Shift+Enter to the one before, Esc empties it and then leaves it. */
export function FindField({ field, sought, found, at, onStep }: FindFieldProps): JSX.Element {
  const onKeyDown = (event: JSX.TargetedKeyboardEvent<HTMLInputElement>) => {
    if (event.key === "Enter") onStep(event.shiftKey ? -1 : 1);
    else if (event.key === "Escape" && sought.value !== "") sought.value = "";
    else if (event.key === "Escape") event.currentTarget.blur();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const count = found === MAX_MATCHES ? `${grouped(found)} or more` : grouped(found);
  return (
    <search class="field find">
      <Icon name="search" />
      <input
        ref={field}
        type="search"
        aria-label="Find in the log"
        placeholder="Find in the log"
        autocomplete="off"
        spellcheck={false}
        value={sought}
        onInput={(event) => {
          sought.value = event.currentTarget.value;
        }}
        onKeyDown={onKeyDown}
      />
      {sought.value === "" ? null : (
        <>
          <span class="three" role="status">
            {found === 0 ? "none" : `${grouped(at)} of ${count}`}
          </span>
          <button
            type="button"
            class="step"
            aria-label="Match before"
            disabled={found === 0}
            onClick={() => onStep(-1)}
          >
            ↑
          </button>
          <button type="button" class="step" aria-label="Next match" disabled={found === 0} onClick={() => onStep(1)}>
            ↓
          </button>
        </>
      )}
    </search>
  );
}

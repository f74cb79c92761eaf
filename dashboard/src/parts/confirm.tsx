/** A question beside the button that asks it, with a reason to give. */

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useId } from "preact/hooks";
import { type Floating, Popup } from "./popup.tsx";

/** Properties of {@link Confirm}. */
export interface ConfirmProps {
  readonly at: Floating<HTMLElement>;
  /** The question: `Cancel Import prices?` */
  readonly title: string;
  /** What comes of it, in a sentence. */
  readonly text: string;
  /** Label of the button that does it: `Cancel it`. */
  readonly action: string;
  /** Label of the button that does not: `Keep it running`. */
  readonly refusal: string;
  /** Label of the field for the reason; without it no reason is asked for. */
  readonly reasonLabel?: string;
  /** Does it. The reason may be empty. */
  readonly onConfirm: (reason: string) => unknown;
}

/** The longest reason that the hub takes. */
const MAX_REASON_CHARS = 1_000;

/** A confirmation. It takes the focus to the reason, and gives it back. */
export function Confirm({ at, title, text, action, refusal, reasonLabel, onConfirm }: ConfirmProps): JSX.Element {
  const reason = useSignal("");
  const field = useId();
  const close = () => {
    at.open.value = false;
  };
  const submit = (event: Event) => {
    event.preventDefault();
    close();
    onConfirm(reason.value.trim());
    reason.value = "";
  };
  return (
    <Popup open={at.open} anchor={at.anchor} class="confirm" label={title} role="dialog">
      <form onSubmit={submit}>
        <h2>{title}</h2>
        <p>{text}</p>
        {reasonLabel === undefined ? null : (
          <>
            <label for={field}>{reasonLabel}</label>
            <div class="field">
              <input
                id={field}
                type="text"
                maxLength={MAX_REASON_CHARS}
                autocomplete="off"
                value={reason}
                onInput={(event) => {
                  reason.value = event.currentTarget.value;
                }}
              />
            </div>
          </>
        )}
        <div class="acts">
          <button type="button" class="btn" onClick={close}>
            {refusal}
          </button>
          <button type="submit" class="btn ink">
            {action}
          </button>
        </div>
      </form>
    </Popup>
  );
}

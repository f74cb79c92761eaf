/** Copying text, also on plain http, where browsers have no `navigator.clipboard`. */

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { announce } from "../announcer.ts";
import { Icon } from "./icon.tsx";

/** Puts text on the clipboard. Returns whether the browser let it. */
export async function copyText(text: string): Promise<boolean> {
  if (window.isSecureContext && navigator.clipboard !== undefined) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Refused, or the page has no focus: the old way may work.
    }
  }
  return copySelection(text);
}

function copySelection(text: string): boolean {
  const field = document.createElement("textarea");
  field.value = text;
  field.readOnly = true;
  field.className = "sr";
  const focused = document.activeElement;
  // Inside an open dialog, what is outside of it cannot be selected.
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  let isCopied = false;
  try {
    isCopied = document.execCommand("copy");
  } catch {
    isCopied = false;
  }
  field.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return isCopied;
}

/** How long a copy button shows its outcome, in milliseconds. */
const SHOWN_MS = 2_000;

/** Properties of {@link CopyButton}. */
export interface CopyButtonProps {
  /** The text, or how to make it when it is asked for. */
  readonly text: string | (() => string);
  /** What is copied, for screen readers and the tooltip: `Copy: install`. */
  readonly label: string;
  /** Words on the button; without them it is an icon. */
  readonly children?: string;
}

/** A button that copies text, and shows whether it worked. */
export function CopyButton({ text, label, children }: CopyButtonProps): JSX.Element {
  const outcome = useSignal<"" | "Copied" | "Not copied: select the text">("");
  const copy = async () => {
    const isCopied = await copyText(typeof text === "string" ? text : text());
    outcome.value = isCopied ? "Copied" : "Not copied: select the text";
    announce(outcome.value);
    setTimeout(() => {
      outcome.value = "";
    }, SHOWN_MS);
  };
  const icon = outcome.value === "Copied" ? "check" : "copy";
  return (
    <button
      type="button"
      class={children === undefined ? "btn plain square" : "btn plain"}
      aria-label={children === undefined ? label : undefined}
      title={outcome.value || label}
      onClick={copy}
    >
      <Icon name={icon} />
      {children === undefined ? null : outcome.value || children}
    </button>
  );
}

/** A line of code with a button that copies it. */
export function CopyLine({ text, label }: { readonly text: string; readonly label: string }): JSX.Element {
  return (
    <div class="copy">
      <code>{text}</code>
      <CopyButton text={text} label={label} />
    </div>
  );
}

/** The table of keys. */

import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { currentCommands } from "../keys.ts";
import { Icon } from "../parts/icon.tsx";
import { letterKeys } from "../settings.ts";

/** Whether the table of keys is shown. */
export const isHelpOpen = signal(false);

const KEY_WORDS: Readonly<Record<string, string>> = {
  ArrowUp: "↑",
  ArrowDown: "↓",
  ArrowLeft: "←",
  ArrowRight: "→",
  " ": "Space",
  Escape: "Esc",
  PageUp: "Page ↑",
  PageDown: "Page ↓",
};

/** The table, over the page, while it is open. */
export function Help(): JSX.Element | null {
  return isHelpOpen.value ? <OpenHelp /> : null;
}

function OpenHelp(): JSX.Element {
  const self = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    self.current?.showModal();
    return () => {
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  const close = () => {
    isHelpOpen.value = false;
  };
  return (
    <dialog ref={self} class="help" aria-labelledby="help-title" closedby="any" onClose={close}>
      <div class="help-body">
        <div class="title">
          <h2 id="help-title">Keys</h2>
          <span class="grow" />
          <button type="button" class="btn plain square" aria-label="Close" onClick={close}>
            <Icon name="close" />
          </button>
        </div>
        <table>
          <tbody>
            {[...currentCommands()]
              .filter((command) => command.does !== "")
              .map((command) => (
                <tr>
                  <th scope="row">
                    {command.keys.map((keys) => (
                      <span class="key-set">
                        {keys.split(/(?<=.) (?=.)/).map((key) => (
                          <kbd>{KEY_WORDS[key] ?? key}</kbd>
                        ))}
                      </span>
                    ))}
                  </th>
                  <td>{command.does}</td>
                </tr>
              ))}
          </tbody>
        </table>
        <label class="check">
          <input
            type="checkbox"
            checked={letterKeys.value}
            onInput={(event) => {
              letterKeys.value = event.currentTarget.checked;
            }}
          />
          Letters and signs are commands. Arrows, Enter and Esc always are. In a field, letters are letters.
        </label>
      </div>
    </dialog>
  );
}

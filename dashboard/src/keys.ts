/** Commands of the keyboard: one listener, and a table of what each key does, which `?` shows. */

import { signal } from "@preact/signals";
import { useLayoutEffect } from "preact/hooks";
import { letterKeys } from "./settings.ts";

/** One command. */
export interface Command {
  /** Keys as `KeyboardEvent.key` names them; two with a space between are typed one after the other: `g o`. */
  readonly keys: readonly string[];
  /** What it does, for the table: `to the filter`. */
  readonly does: string;
  /** Does it. Returning false leaves the key to the browser. */
  readonly run: (event: KeyboardEvent) => unknown;
  /** Whether it also acts while a field has the focus. */
  readonly inFields?: boolean;
}

/** Milliseconds in which the second key of two must follow. */
const SEQUENCE_MS = 1_500;

const tables = signal<readonly (readonly Command[])[]>([]);

/** All commands of what is shown now, those of the page before those of the shell. */
export function currentCommands(): readonly Command[] {
  return tables.value.flat();
}

/** Adds commands. Returns a function that removes them. */
export function addCommands(commands: readonly Command[]): () => void {
  tables.value = [commands, ...tables.peek()];
  return () => {
    tables.value = tables.peek().filter((each) => each !== commands);
  };
}

/** Commands of a component while it is shown. `commands` must be the same array from one rendering to the next. */
export function useCommands(commands: readonly Command[]): void {
  useLayoutEffect(() => addCommands(commands), [commands]);
}

let first = "";
let firstAt = 0;

/** Runs the command of a key, if there is one. */
export function handleKey(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (isCovered(event.target)) return;
  const isLetter = event.key.length === 1 && event.key !== " ";
  if (isLetter && !letterKeys.peek()) return;
  const inField = isField(event.target);
  const sequence = event.timeStamp - firstAt < SEQUENCE_MS ? `${first} ${event.key}` : "";
  first = "";
  const commands = tables.peek().flat();
  // The second key of two means both, also where it means something by itself: `g e` on a page with an `e`.
  for (const typed of [sequence, event.key]) {
    for (const command of commands) {
      if (inField && (command.inFields !== true || isLetter)) continue;
      if (!command.keys.includes(typed) || command.run(event) === false) continue;
      event.preventDefault();
      return;
    }
  }
  if (!inField && commands.some((command) => begins(command, event.key))) {
    first = event.key;
    firstAt = event.timeStamp;
  }
}

function begins(command: Command, key: string): boolean {
  return command.keys.some((each) => each.startsWith(`${key} `));
}

/** Whether the keys belong to what lies over the page: a dialog, or what floats and has the focus. */
function isCovered(target: EventTarget | null): boolean {
  if (document.querySelector("dialog:modal") !== null) return true;
  return target instanceof Element && target.closest("[popover]") !== null;
}

function isField(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement)
    return true;
  return target instanceof HTMLInputElement && !/^(button|checkbox|radio|submit|reset)$/.test(target.type);
}

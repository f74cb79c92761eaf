/** A button with a menu of choices. */

import type { ComponentChildren, JSX } from "preact";
import { Icon, type IconName } from "./icon.tsx";
import { Popup, useFloating } from "./popup.tsx";

/** One entry of a menu. */
export interface MenuItem {
  readonly label: string;
  /** Set for one of several choices: whether it is the chosen one. */
  readonly isChosen?: boolean;
  /** Why it cannot be chosen now; empty or absent if it can. */
  readonly whyNot?: string;
  readonly icon?: IconName;
  readonly run: () => unknown;
}

/** Entries of a menu; `null` is a line between two groups. */
export type MenuItems = readonly (MenuItem | null)[];

/** Properties of {@link Menu}. */
export interface MenuProps {
  /** What the menu is for, for screen readers. */
  readonly label: string;
  /** What is on the button. */
  readonly children: ComponentChildren;
  /** The entries, or how to make them when the menu is opened; `null` is a line between two groups. */
  readonly items: MenuItems | (() => MenuItems);
  readonly class?: string;
  /** Whether Tab passes the button: a row of a list has one stop, and its keys do the same. */
  readonly isInList?: boolean;
  /** Whether the menu stays open after a choice, as for several columns. */
  readonly staysOpen?: boolean;
}

/** A button that opens a menu; arrows, Home, End and letters move in it. */
export function Menu({
  label,
  children,
  items,
  class: name = "btn plain",
  isInList,
  staysOpen,
}: MenuProps): JSX.Element {
  const { open, anchor, toggle } = useFloating();
  // What is written on a button is its name, also for those who speak to it.
  const hasOnlyIcon = name.split(" ").includes("square");
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown" && !open.value) {
      event.preventDefault();
      toggle();
    }
  };
  return (
    <>
      <button
        ref={anchor}
        type="button"
        class={name}
        aria-haspopup="menu"
        aria-expanded={open.value}
        aria-label={hasOnlyIcon ? label : undefined}
        title={label}
        onClick={toggle}
        onKeyDown={onKeyDown}
        tabIndex={isInList === true ? -1 : 0}
      >
        {children}
      </button>
      <Popup open={open} anchor={anchor} class="menu" label={label} role="menu">
        <div role="none" onKeyDown={moveInMenu}>
          {(typeof items === "function" ? (open.value ? items() : []) : items).map((item) =>
            item === null ? (
              <hr />
            ) : (
              <Entry
                item={item}
                onDone={() => {
                  if (staysOpen !== true) open.value = false;
                }}
              />
            ),
          )}
        </div>
      </Popup>
    </>
  );
}

function Entry({ item, onDone }: { readonly item: MenuItem; readonly onDone: () => void }): JSX.Element {
  const isOff = Boolean(item.whyNot);
  const role = item.isChosen === undefined ? "menuitem" : "menuitemcheckbox";
  const run = () => {
    if (isOff) return;
    onDone();
    item.run();
  };
  const checked = item.isChosen === undefined ? {} : { "aria-checked": item.isChosen };
  return (
    <button
      type="button"
      role={role}
      {...checked}
      aria-disabled={isOff}
      title={item.whyNot ?? ""}
      onClick={run}
      tabIndex={-1}
    >
      {item.isChosen === true ? (
        <Icon name="check" />
      ) : (
        <Icon name={item.icon ?? "check"} class={item.icon ? "" : "none"} />
      )}
      <span>{item.label}</span>
      {isOff ? <span class="three">{item.whyNot}</span> : null}
    </button>
  );
}

function moveInMenu(event: JSX.TargetedKeyboardEvent<HTMLElement>): void {
  const entries = Array.from(event.currentTarget.querySelectorAll("[role^=menuitem]"));
  const at = document.activeElement === null ? -1 : entries.indexOf(document.activeElement);
  const last = entries.length - 1;
  const target = {
    ArrowDown: at >= last ? 0 : at + 1,
    ArrowUp: at <= 0 ? last : at - 1,
    Home: 0,
    End: last,
    Tab: at,
  }[event.key];
  const typed =
    event.key.length === 1 ? entries.findIndex((entry, index) => index > at && begins(entry, event.key)) : -1;
  const found = entries[target ?? typed];
  if (!(found instanceof HTMLElement)) return;
  event.preventDefault();
  event.stopPropagation();
  found.focus();
}

function begins(entry: Element, letter: string): boolean {
  return entry.textContent?.trim().toLowerCase().startsWith(letter.toLowerCase()) === true;
}

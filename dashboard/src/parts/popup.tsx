/** What floats beside a button: menus and confirmations. It is in the top layer, and closes with Esc or a press outside. */

import { type Signal, useSignal } from "@preact/signals";
import type { ComponentChildren, JSX, RefObject } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

/** Pixels between the button and what floats, and between that and the edge of the window. */
const GAP_PX = 4;

/** Properties of {@link Popup}. */
export interface PopupProps {
  /** Whether it is shown; set to false when the reader closes it. */
  readonly open: Signal<boolean>;
  /** The button beside which it stands, and which gets the focus back. */
  readonly anchor: RefObject<HTMLElement>;
  readonly class: string;
  readonly label: string;
  readonly role: "dialog" | "menu";
  readonly children: ComponentChildren;
}

/** Content beside a button, made when it is opened. */
export function Popup(props: PopupProps): JSX.Element | null {
  return props.open.value ? <OpenPopup {...props} /> : null;
}

function OpenPopup({ open, anchor, class: name, label, role, children }: PopupProps): JSX.Element {
  const self = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const popup = self.current;
    if (popup === null) return;
    popup.showPopover?.();
    place(popup, anchor.current);
    const button = anchor.current;
    return () => {
      // The focus goes back only from inside: a press elsewhere has moved it on purpose.
      const hadFocus = popup.contains(document.activeElement) || document.activeElement === document.body;
      if (hadFocus) buttonOf(button)?.focus({ preventScroll: true });
    };
  }, [anchor]);
  // As soon as it is drawn: a key that is pressed before an effect runs would go to the page below.
  useLayoutEffect(() => {
    const popup = self.current;
    if (popup === null) return;
    const first = popup.querySelector<HTMLElement>("[autofocus], textarea, input, [role^=menuitem], button");
    (first ?? popup).focus({ preventScroll: true });
    const follow = () => {
      place(popup, anchor.current);
      // A button that had the focus may be gone.
      if (document.activeElement === document.body) popup.focus({ preventScroll: true });
    };
    const press = (event: PointerEvent) => {
      const at = event.target;
      if (at instanceof Node && !popup.contains(at) && anchor.current?.contains(at) !== true) open.value = false;
    };
    // Wherever the focus is: what had it in here may be gone by now. A dialog above the popup closes first.
    const key = (event: KeyboardEvent) => {
      if (event.key !== "Escape" || event.isComposing || document.querySelector("dialog:modal") !== null) return;
      event.preventDefault();
      event.stopPropagation();
      open.value = false;
    };
    document.addEventListener("keydown", key, true); // before the page, which would leave for another one
    const sizes = new ResizeObserver(follow); // its content changes while it is open
    sizes.observe(popup);
    addEventListener("resize", follow);
    addEventListener("pointerdown", press);
    return () => {
      document.removeEventListener("keydown", key, true);
      sizes.disconnect();
      removeEventListener("resize", follow);
      removeEventListener("pointerdown", press);
    };
  }, [anchor, open]);
  return (
    <div ref={self} class={`popup ${name}`} {...{ role, "aria-label": label }} popover="manual" tabIndex={-1}>
      {children}
    </div>
  );
}

function buttonOf(anchor: HTMLElement | null): HTMLElement | null {
  return anchor instanceof HTMLButtonElement ? anchor : (anchor?.querySelector("button") ?? null);
}

/** Puts a popup below its button, or above it where there is no room, inside the window. */
function place(popup: HTMLElement, button: HTMLElement | null): void {
  if (button === null) return;
  const around = button.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = popup;
  const { clientWidth, clientHeight } = document.documentElement;
  const isBelow = around.bottom + GAP_PX + height <= clientHeight || around.top < height;
  const top = isBelow ? around.bottom + GAP_PX : around.top - GAP_PX - height;
  const left = around.left + width + GAP_PX > clientWidth ? around.right - width : around.left;
  popup.style.top = `${Math.max(GAP_PX, Math.min(top, clientHeight - height - GAP_PX))}px`;
  popup.style.left = `${Math.max(GAP_PX, Math.min(left, clientWidth - width - GAP_PX))}px`;
}

/** Whether something floats, and the button beside which it does. */
export interface Floating<T extends HTMLElement = HTMLButtonElement> {
  readonly open: Signal<boolean>;
  /** The button, or an element around it. */
  readonly anchor: RefObject<T>;
  readonly toggle: () => void;
}

/** State of a button that opens something beside itself. */
export function useFloating<T extends HTMLElement = HTMLButtonElement>(): Floating<T> {
  const open = useSignal(false);
  const anchor = useRef<T>(null);
  const toggle = () => {
    open.value = !open.value;
  };
  return { open, anchor, toggle };
}

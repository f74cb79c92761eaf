/** What both elements share: a shadow root, a client while they are in a page, and a note about the connection. */

import type { ConnectionState } from "../connection.ts";
import type { Hub } from "../options.ts";
import { describeFault, findRegistry } from "./registry.ts";
import { element, set, write } from "./row.ts";
import { adoptStyle } from "./styles.ts";

/** Where there is no page, as on a server, the module can be imported, and defines nothing. */
const Base = ((globalThis as Partial<typeof globalThis>).HTMLElement ?? class {}) as typeof HTMLElement;

/** An element that shows something of a hub. */
export abstract class HubElement extends Base {
  static readonly observedAttributes: readonly string[] = ["url"];
  /** Where a subclass puts what it shows. */
  protected readonly frame: HTMLElement;
  readonly #note: HTMLElement;
  readonly #stops: (() => void)[] = [];
  #inPage = false;

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    adoptStyle(root);
    this.frame = element("div", "frame");
    this.#note = element("p", "note");
    this.#note.setAttribute("role", "status");
    this.frame.append(this.#note);
    root.append(this.frame);
  }

  connectedCallback(): void {
    this.#inPage = true;
    this.restart();
  }

  disconnectedCallback(): void {
    this.#inPage = false;
    this.#stop();
  }

  attributeChangedCallback(_name: string, before: string | null, after: string | null): void {
    if (before !== after) this.restart();
  }

  /** Follows the hub; returns what ends that. It calls `note` with what to say where there is nothing else to show. */
  protected abstract follow(hub: Hub): readonly (() => void)[];

  /** Stops following the hub, and follows it again if the element is in a page. */
  protected restart(): void {
    this.#stop();
    if (!this.#inPage) return;
    const registry = findRegistry();
    this.#stops.push(registry.changed(() => this.restart()));
    try {
      const hub = registry.hubFor(this.getAttribute("url"));
      const link = (): void => set(this, "data-link", linkOf(hub.connection.getSnapshot()));
      this.#stops.push(...this.follow(hub), hub.connection.subscribe(link));
      link();
    } catch (error) {
      set(this, "data-link", "closed");
      this.note(describeFault(error));
    }
  }

  /** Says something in place of operations, or beside them; "" says nothing. */
  protected note(text: string): void {
    write(this.#note, text);
  }

  #stop(): void {
    for (const stop of this.#stops.splice(0)) stop();
  }
}

function linkOf({ state }: ConnectionState): string {
  return state;
}

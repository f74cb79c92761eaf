/** `<tidings-operation>`: one operation. */

import type { Hub } from "../options.ts";
import { HubElement } from "./base.ts";
import { describeFault } from "./registry.ts";
import { Row } from "./row.ts";

/** One operation. Attributes: `operation-id`, `url`. */
export class OperationElement extends HubElement {
  static override readonly observedAttributes = ["url", "operation-id"];
  readonly #row = new Row();

  protected override follow(hub: Hub): readonly (() => void)[] {
    const id = this.getAttribute("operation-id");
    if (id === null) {
      this.#row.node.remove();
      this.note("Set the attribute operation-id.");
      return [];
    }
    const all = hub.operations;
    const store = all.operation(id);
    const show = (): void => {
      const operation = store.getSnapshot();
      const { error, status } = all.getSnapshot();
      if (operation) {
        this.#row.show(operation);
        if (!this.#row.node.isConnected) this.frame.prepend(this.#row.node);
        this.note("");
        return;
      }
      this.#row.node.remove();
      if (status === "failed") this.note(describeFault(error));
      else if (operation === undefined) this.note("Loading…");
      else this.note(`The hub does not know ${id}: it never began, or is no longer kept.`);
    };
    const stops = [store.subscribe(show), all.subscribe(() => this.#row.node.isConnected || show())];
    show();
    return stops;
  }
}

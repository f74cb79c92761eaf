/** `<tidings-operations>`: a live list of operations. */

import type { Operation } from "../operations/operation.ts";
import type { Hub } from "../options.ts";
import { HubElement } from "./base.ts";
import { describeFault } from "./registry.ts";
import { element, Row } from "./row.ts";

const DEFAULT_LIMIT = 50;

/**
 * A live list of operations, the attempt that began last first. Attributes: `name` (a name, or the beginning of names
 * with `*` at its end), `state` (one or more, separated by spaces), `parent`, `limit` (default 50), `url`.
 */
export class OperationsElement extends HubElement {
  static override readonly observedAttributes = ["url", "name", "state", "parent", "limit"];
  readonly #list = element("ul", "list");
  readonly #rows = new Map<string, { readonly item: HTMLElement; readonly row: Row }>();

  constructor() {
    super();
    this.#list.setAttribute("role", "list"); // Safari takes it away from lists without markers
    this.frame.prepend(this.#list);
  }

  protected override follow(hub: Hub): readonly (() => void)[] {
    const store = hub.operations;
    const show = (): void => {
      const { error, operations, status } = store.getSnapshot();
      const shown = this.#select(operations);
      this.#show(shown);
      if (status === "failed") this.note(describeFault(error));
      else this.note(shown.length > 0 ? "" : status === "loading" ? "Loading…" : "No operations.");
    };
    const stop = store.subscribe(show);
    show();
    return [stop];
  }

  #select(operations: readonly Operation[]): readonly Operation[] {
    const name = this.getAttribute("name");
    const parent = this.getAttribute("parent");
    const states = this.getAttribute("state")?.split(/\s+/).filter(Boolean);
    const given = Number.parseInt(this.getAttribute("limit") ?? "", 10);
    const limit = given >= 0 ? given : DEFAULT_LIMIT;
    const matches = (one: Operation): boolean =>
      (name === null || (name.endsWith("*") ? one.name.startsWith(name.slice(0, -1)) : one.name === name)) &&
      (states === undefined || states.length === 0 || states.includes(one.state)) &&
      (parent === null || one.parent_id === parent);
    const found: Operation[] = [];
    for (const one of operations) {
      if (found.length >= limit) break;
      if (matches(one)) found.push(one);
    }
    return found;
  }

  /** Shows operations in their order; each keeps its nodes, and only those that moved are put elsewhere. */
  #show(operations: readonly Operation[]): void {
    const kept = new Set(operations.map((one) => one.operation_id));
    for (const [id, { item }] of this.#rows) {
      if (kept.has(id)) continue;
      item.remove();
      this.#rows.delete(id);
    }
    let next = this.#list.firstElementChild;
    for (const operation of operations) {
      const { item, row } = this.#rowOf(operation.operation_id);
      row.show(operation);
      if (item === next) next = item.nextElementSibling;
      else this.#list.insertBefore(item, next);
    }
  }

  #rowOf(id: string): { readonly item: HTMLElement; readonly row: Row } {
    const known = this.#rows.get(id);
    if (known !== undefined) return known;
    const made = { item: element("li", "item"), row: new Row() };
    made.item.append(made.row.node);
    this.#rows.set(id, made);
    return made;
  }
}

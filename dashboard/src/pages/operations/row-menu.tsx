/** What can be done with one operation of the list. */

import { type ReadonlySignal, useSignalEffect } from "@preact/signals";
import type { JSX } from "preact";
import { announce } from "../../announcer.ts";
import { attention, markSeen } from "../../attention.ts";
import { isLive, nameOf } from "../../format/operation.ts";
import type { Row } from "../../format/row.ts";
import { whyNoActions } from "../../hub.ts";
import { addressOf } from "../../mount.ts";
import { Confirm } from "../../parts/confirm.tsx";
import { copyText } from "../../parts/copy.tsx";
import { Icon } from "../../parts/icon.tsx";
import { Menu, type MenuItems } from "../../parts/menu.tsx";
import { type Floating, useFloating } from "../../parts/popup.tsx";
import { mayDo } from "../../session.ts";
import { changeFilter } from "./address.ts";
import { offerUndo } from "./seen.tsx";
import { askedToCancel, cancelAll, toggleChosen } from "./selection.ts";

/** A button with a menu, at the right of a row. */
export function RowMenu({ operation }: { readonly operation: ReadonlySignal<Row> }): JSX.Element {
  const confirm = useFloating<HTMLSpanElement>();
  const label = `More about ${nameOf(operation.peek())}`;
  const ask = () => {
    confirm.open.value = true;
  };
  useSignalEffect(() => {
    if (askedToCancel.value !== operation.peek().operation_id) return;
    askedToCancel.value = undefined;
    ask();
  });
  return (
    <span ref={confirm.anchor}>
      <Menu label={label} class="btn plain square more" items={() => itemsFor(operation.peek(), ask)} isInList>
        <Icon name="more" />
      </Menu>
      <CancelConfirm rows={[operation.peek()]} at={confirm} />
    </span>
  );
}

/** Why an operation cannot be cancelled now; empty if it can. */
export function whyNotCancel(row: Row): string {
  if (!isLive(row)) return "It has ended";
  if (!mayDo("cancel", `operations/${row.operation_id}`)) return "Needs the grant cancel operations";
  return whyNoActions.value;
}

function itemsFor(row: Row, ask: () => void): MenuItems {
  const troubled = attention.peek().some((each) => each.operation_id === row.operation_id);
  const copy = (text: string) => async () => announce((await copyText(text)) ? "Copied" : "Not copied");
  return [
    ...(troubled ? [{ label: "Mark as seen", run: () => offerUndo(markSeen([row]), 1) }] : []),
    { label: "Cancel it…", whyNot: whyNotCancel(row), run: ask },
    { label: "Choose it, and others", run: () => toggleChosen(row.operation_id) },
    null,
    ...(row.name === "" ? [] : [{ label: "Only this name", run: () => changeFilter({ names: [row.name] }) }]),
    ...(row.producer_id === undefined
      ? []
      : [{ label: "Only this producer", run: () => changeFilter({ producer: row.producer_id ?? "" }) }]),
    ...(row.parent_id === undefined
      ? []
      : [{ label: "Only parts of its parent", run: () => changeFilter({ parent: row.parent_id ?? "" }) }]),
    { label: "Only its parts", run: () => changeFilter({ parent: row.operation_id }) },
    null,
    { label: "Copy the id", icon: "copy", run: copy(row.operation_id) },
    { label: "Copy as command", icon: "copy", run: copy(commandFor(row)) },
  ];
}

/** The command that shows an operation of this hub on a terminal; no id is read as an option. */
export function commandFor(row: Row): string {
  const quote = (text: string) => (/^[\w.:@/+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);
  return `tidings show --url ${quote(addressOf("./").href)} -- ${quote(row.operation_id)}`;
}

/** The question before operations are cancelled. */
export function CancelConfirm(props: {
  readonly rows: readonly Row[];
  readonly at: Floating<HTMLElement>;
}): JSX.Element {
  const { rows, at } = props;
  const [first] = rows;
  const isOne = rows.length === 1 && first !== undefined;
  return (
    <Confirm
      at={at}
      title={isOne ? `Cancel ${nameOf(first)}?` : `Cancel ${rows.length} operations?`}
      text={
        isOne
          ? "Its producer is asked to end it, and its parts with it. It may refuse."
          : "Their producers are asked to end them, and their parts with them. Each may refuse."
      }
      action={isOne ? "Cancel it" : "Cancel them"}
      refusal={isOne ? "Keep it running" : "Keep them running"}
      reasonLabel="Reason, for its log and for others who watch it"
      onConfirm={(reason) => cancelAll(rows, reason)}
    />
  );
}

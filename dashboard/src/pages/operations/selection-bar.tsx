/** What can be done with the chosen operations, and what came of it. */

import type { JSX } from "preact";
import { isLive } from "../../format/operation.ts";
import type { Row } from "../../format/row.ts";
import { counted } from "../../format/span.ts";
import { whyNoActions } from "../../hub.ts";
import { StateIcon } from "../../parts/icon.tsx";
import { Lock } from "../../parts/lock.tsx";
import { useFloating } from "../../parts/popup.tsx";
import { Go, hrefOf } from "../../router.tsx";
import { mayDo } from "../../session.ts";
import { lines, rowOf } from "./model.ts";
import { CancelConfirm, whyNotCancel } from "./row-menu.tsx";
import {
  cancellings,
  choose,
  chosen,
  clearOutcomes,
  isSelecting,
  outcomesSentence,
  stopSelecting,
} from "./selection.ts";

/** The bar at the bottom of the window, while operations are chosen or outcomes are shown. */
export function SelectionBar(): JSX.Element | null {
  if (!isSelecting.value && cancellings.value.size === 0) return null;
  return (
    <section class="selection" aria-label="Chosen operations">
      <Outcomes />
      {isSelecting.value ? <Chosen /> : null}
    </section>
  );
}

function Chosen(): JSX.Element {
  const confirm = useFloating();
  const isWaiting = (row: Row | undefined) => row !== undefined && isLive(row);
  const rows = [...chosen.value].map((id) => rowOf(id)).filter((row) => row !== undefined);
  const live = rows.filter(isLive);
  const possible = live.filter((row) => whyNotCancel(row) === "");
  const locked = live.length - possible.length;
  const chooseAll = () => {
    const ids = lines.peek().flatMap((line) => (line.kind === "row" ? [line.operationId] : []));
    choose(ids.filter((id) => isWaiting(rowOf(id))));
  };
  return (
    <div class="selection-row">
      <b>{counted(rows.length, "operation")} chosen</b>
      {rows.length > live.length ? (
        <span class="two">{counted(rows.length - live.length, "has ended", "have ended")}</span>
      ) : null}
      {locked > 0 && whyNoActions.value === "" ? (
        <Lock what={`Cancelling ${locked} of them`} grant="cancel operations" />
      ) : null}
      <span class="grow" />
      <button type="button" class="btn plain" onClick={chooseAll}>
        Choose all that run or wait
      </button>
      <button
        ref={confirm.anchor}
        type="button"
        class="btn"
        disabled={possible.length === 0 || whyNoActions.value !== ""}
        title={whyNoActions.value || (mayDo("cancel", "operations") ? "" : "Needs the grant cancel operations")}
        onClick={confirm.toggle}
      >
        {whyNoActions.value || `Cancel ${possible.length === 1 ? "it" : `these ${possible.length}`}…`}
      </button>
      <CancelConfirm rows={possible} at={confirm} />
      <button type="button" class="btn plain" onClick={stopSelecting}>
        Done
      </button>
    </div>
  );
}

function Outcomes(): JSX.Element | null {
  const all = [...cancellings.value.values()];
  if (all.length === 0) return null;
  return (
    <details class="outcomes" open={all.length <= 5}>
      <summary>{outcomesSentence}</summary>
      <ul class="outs">
        {all.map((each) => (
          <li key={each.operationId}>
            <StateIcon look={each.look} />
            <Go href={hrefOf("operation", { id: each.operationId })}>{each.name}</Go>
            <span class="two">{each.text}</span>
          </li>
        ))}
      </ul>
      <button type="button" class="btn plain" onClick={clearOutcomes}>
        Forget these
      </button>
    </details>
  );
}

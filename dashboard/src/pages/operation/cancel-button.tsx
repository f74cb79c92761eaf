/** Cancelling an operation: the button, its question, and how it came out in the same place. */

import { type ReadonlySignal, useComputed, useSignal, useSignalEffect } from "@preact/signals";
import type { JSX } from "preact";
import { useMemo, useRef } from "preact/hooks";
import { announce } from "../../announcer.ts";
import { isLive, nameOf, producerOf } from "../../format/operation.ts";
import { plain } from "../../format/text.ts";
import { hub, whyNoActions } from "../../hub.ts";
import { useCommands } from "../../keys.ts";
import { Age } from "../../parts/age.tsx";
import { Confirm } from "../../parts/confirm.tsx";
import { Lock } from "../../parts/lock.tsx";
import { errorFacts } from "../../parts/panel.tsx";
import { useFloating } from "../../parts/popup.tsx";
import { mayDo } from "../../session.ts";
import { setting } from "../../settings.ts";
import { type KeptAnswer, readAnswers, recall, remember } from "./cancel-answers.ts";
import { type CancelAnswer, cancellingOf, cancellingText, NO_REQUEST, type OwnRequest } from "./cancelling.ts";
import type { OperationDetail } from "./detail.ts";

/** Seconds that the hub waits for the end of the operation before it answers. */
const TIMEOUT_S = 10;

/** Answers to the requests of all tabs. */
const answers = setting<readonly KeptAnswer[]>("cancel-answers", readAnswers);

/** The button. */
export function CancelButton({ detail }: { readonly detail: ReadonlySignal<OperationDetail> }): JSX.Element | null {
  const at = useFloating();
  const own = useSignal<OwnRequest>(NO_REQUEST);
  const requestedOf = useSignal(0);
  useSignalEffect(() => {
    const { attempt, cancel_requested_at: at } = detail.value;
    if (at !== undefined) requestedOf.value = attempt;
    // The outcome for one attempt says nothing about the next.
    else if (requestedOf.peek() !== attempt) requestedOf.value = 0;
  });
  // What another tab was answered, or this one before it was loaded again.
  const known = useComputed(() => (own.value.kind === "none" ? recall(answers.value, detail.value) : own.value));
  const state = useComputed(() => cancellingOf(detail.value, known.value, requestedOf.value === detail.value.attempt));
  const name = useComputed(() => nameOf(detail.value));
  const text = useComputed(() => cancellingText(state.value, name.value));
  const isRunning = useComputed(() => isLive(detail.value));
  const who = useComputed(() => producerOf(detail.value) || "its producer");
  useSignalEffect(() => {
    if (text.value !== "") announce(text.value);
  });
  const id = detail.value.operation_id;
  const question = useRef(() => {});
  useCommands(useMemo(() => [{ keys: ["c"], does: "cancel it; asks first", run: () => question.current() }], []));
  const ask = async (reason: string) => {
    own.value = { kind: "sent", attempt: detail.peek().attempt };
    try {
      const answer = await hub.cancel(id, { timeoutS: TIMEOUT_S, ...(reason === "" ? {} : { reason }) });
      own.value = { kind: "answered", answer: answer satisfies CancelAnswer };
      answers.value = remember(answers.peek(), id, answer);
    } catch (error) {
      const { message, hint } = errorFacts(error);
      own.value = { kind: "error", message, hint };
    }
  };
  const { kind } = state.value;
  const isWaiting = kind === "asked" || kind === "stopping";
  question.current = () => {};
  if (!isRunning.value && text.value === "") return null;
  if (isRunning.value && !mayDo("cancel", `operations/${id}`)) {
    return <Lock grant={`cancel operations/${id}`} what="Cancelling" />;
  }
  const why = whyNoActions.value;
  question.current = () => {
    if (isRunning.peek() && !isWaiting && why === "") at.toggle();
  };
  return (
    <>
      {text.value === "" ? null : (
        <output class={`cancel-outcome ${kind}`} title={state.value.kind === "error" ? state.value.hint : undefined}>
          {plain(text.value)}
          {state.value.kind === "stopping" && state.value.since !== undefined ? (
            <>
              , <Age at={state.value.since} />
            </>
          ) : null}
        </output>
      )}
      {isRunning.value && !isWaiting ? (
        <button ref={at.anchor} type="button" class="btn" disabled={why !== ""} title={why} onClick={at.toggle}>
          {kind === "none" ? "Cancel" : "Ask again"}
        </button>
      ) : null}
      <Confirm
        at={at}
        title={`Cancel “${name.value}”?`}
        text={`${who.value} is asked to end it, and its parts with it.`}
        action="Cancel it"
        refusal="Keep it running"
        reasonLabel="Reason (kept in the history)"
        onConfirm={ask}
      />
    </>
  );
}

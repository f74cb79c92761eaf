/** The button that asks to be notified of an end. */

import { type ReadonlySignal, useComputed, useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { isLive } from "../../format/operation.ts";
import { Icon } from "../../parts/icon.tsx";
import type { OperationDetail } from "./detail.ts";
import { awaited, toggleAwaited, whyNotNotify } from "./notify.ts";

/** The button; absent when the operation has ended. */
export function NotifyButton({ detail }: { readonly detail: ReadonlySignal<OperationDetail> }): JSX.Element | null {
  const fault = useSignal("");
  const id = detail.value.operation_id;
  const isRunning = useComputed(() => isLive(detail.value));
  const isAwaited = useComputed(() => awaited.value.includes(id));
  if (!isRunning.value) return null;
  const why = fault.value || whyNotNotify();
  return (
    <button
      type="button"
      class="btn plain"
      aria-pressed={isAwaited.value}
      disabled={why !== "" && !isAwaited.value}
      title={why || "Notify me when it ends"}
      onClick={async () => {
        fault.value = await toggleAwaited(id);
      }}
    >
      <Icon name="bell" />
      <span class="not-phone">{isAwaited.value ? "You are notified" : "Notify me when it ends"}</span>
    </button>
  );
}

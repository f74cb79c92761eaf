/** The log of one operation, on a page of its own. */

import { useComputed, useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { lookOf, nameOf } from "../../format/operation.ts";
import { plain } from "../../format/text.ts";
import { useCommands } from "../../keys.ts";
import { usePageTitle } from "../../page-title.ts";
import { StateIcon } from "../../parts/icon.tsx";
import { errorFacts, Panel } from "../../parts/panel.tsx";
import { Go, hrefOf, navigate, useQuery } from "../../router.tsx";
import { Gone } from "../operation/gone.tsx";
import { useOperationData } from "../operation/operation-data.ts";
import { lastListHref } from "../operations/last-list.ts";
import { LogViewer } from "./log-viewer.tsx";

/** The page of the log that the address names. */
export function LogPage(): JSX.Element {
  const query = useQuery();
  const id = query.get("id") ?? "";
  if (id === "") return <Gone operationId="" name="" hint="" />;
  return <OneLog key={id} id={id} />;
}

function OneLog({ id }: { readonly id: string }): JSX.Element {
  const data = useOperationData(id);
  const attempt = useSignal<number | undefined>(undefined);
  const name = useComputed(() => (data.detail.value === undefined ? plain(id) : nameOf(data.detail.value)));
  const look = useComputed(() => (data.detail.value === undefined ? undefined : lookOf(data.detail.value)));
  const attempts = useComputed(() => data.detail.value?.attempt ?? 1);
  const error = data.error.value === undefined ? undefined : errorFacts(data.error.value);
  useCommands(
    useMemo(
      () => [{ keys: ["Escape"], does: "back to the operation", run: () => navigate(hrefOf("operation", { id })) }],
      [id],
    ),
  );
  usePageTitle(`Log of ${name.value}`);
  if (error?.code === "operation_unknown") return <Gone operationId={id} name="" hint={error.hint} />;
  return (
    <>
      <div class="head log-head">
        <div class="crumb">
          <Go href={lastListHref.value}>Operations</Go> / <Go href={hrefOf("operation", { id })}>{name}</Go>
        </div>
        <div class="title">
          <span class="frozen">{look.value === undefined ? null : <StateIcon look={look.value} />}</span>
          <h1>{name}</h1>
        </div>
      </div>
      <Panel what="the log">
        <LogViewer
          operationId={id}
          attempts={attempts.value}
          attempt={attempt.value}
          onAttempt={(chosen) => {
            attempt.value = chosen;
          }}
          isPage
        />
      </Panel>
    </>
  );
}

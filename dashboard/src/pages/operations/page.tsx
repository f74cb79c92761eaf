/** The list of operations: what needs attention, what runs, what waits, and what has ended. */

import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { usePageTitle } from "../../page-title.ts";
import { Panel } from "../../parts/panel.tsx";
import { useQuery } from "../../router.tsx";
import { Empty } from "./empty.tsx";
import { isFiltering } from "./filter.ts";
import { noteList } from "./last-list.ts";
import { List } from "./list.tsx";
import { filter, followOperations, listState, showQuery } from "./model.ts";
import { UndoSeen } from "./seen.tsx";
import { SelectionBar } from "./selection-bar.tsx";
import { Filters } from "./toolbar.tsx";
import { Views } from "./views.tsx";
import "./operations.css";

/** The page. */
export function OperationsPage(): JSX.Element {
  usePageTitle("Operations");
  const query = useQuery();
  useEffect(() => {
    showQuery(query);
    noteList(location.search);
  }, [query]);
  useEffect(followOperations, []);
  const state = listState.value;
  const isFirst = state === "nothing-yet" && !isFiltering(filter.value);
  return (
    <>
      {isFirst ? null : (
        <>
          <h1 class="sr">Operations</h1>
          <Panel what="the filters">
            <Views />
            <Filters />
          </Panel>
        </>
      )}
      <Panel what="the list of operations">{state === "rows" ? <List /> : <Empty state={state} />}</Panel>
      <SelectionBar />
      <UndoSeen />
    </>
  );
}

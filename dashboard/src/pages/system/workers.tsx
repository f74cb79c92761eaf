/** The processes of a hub that has several. */

import type { JSX } from "preact";
import { counted, formatSpan, grouped } from "../../format/span.ts";
import { plain } from "../../format/text.ts";
import { connection } from "../../hub.ts";
import { Icon } from "../../parts/icon.tsx";
import { type ClientFacts, describeWorker, type WorkerFacts } from "./facts.ts";
import { Table } from "./table.tsx";

interface WorkersProps {
  /** Undefined for a hub of one process. */
  readonly workers: readonly WorkerFacts[] | undefined;
  readonly clients: readonly ClientFacts[] | undefined;
}

/** Each worker: whether it is ready, what it serves, and how far its log is. */
export function Workers({ workers, clients }: WorkersProps): JSX.Element | null {
  if (workers === undefined) return null;
  const ready = workers.filter((worker) => worker.ready).length;
  const own = connection.value.hub?.connectionId;
  const here = clients?.find((client) => client.connection_id === own)?.source;
  return (
    <section aria-label="Workers">
      <div class="h-sec">
        <h2>Workers</h2>
        <span class="three">
          {grouped(ready)} of {grouped(workers.length)} ready
        </span>
      </div>
      <Table
        class="workers"
        label="Workers"
        heads={["Name", "State", "Process", "Connections", "Behind", "Up"]}
        rows={workers}
      >
        {(worker, index) => (
          <WorkerLine key={worker.source} worker={worker} index={index} isHere={worker.source === here} />
        )}
      </Table>
    </section>
  );
}

interface WorkerLineProps {
  readonly worker: WorkerFacts;
  readonly index: number;
  /** Whether this page is connected to it. */
  readonly isHere: boolean;
}

function WorkerLine({ worker, index, isHere }: WorkerLineProps): JSX.Element {
  const { behind_events: behind, connections, pid, ready, uptime_s: up } = worker;
  return (
    <div class="lrow" role="row" aria-rowindex={index}>
      <div role="cell" class="who mid">
        <Icon name={ready ? "complete" : "failed"} class={ready ? "s-complete" : "s-failed"} />
        <span class="cut">
          {plain(worker.source)}
          {isHere ? <span class="three not-phone"> serves this page</span> : null}
        </span>
      </div>
      <div role="cell" class={`cut ${ready ? "two" : "say-warn"}`}>
        {describeWorker(worker)}
      </div>
      <div role="cell" class="c-x num two">
        {pid}
      </div>
      <div role="cell" class="num two">
        {connections === undefined ? "" : grouped(connections)}
      </div>
      <div role="cell" class="c-x num two">
        {behind ? counted(behind, "event") : ""}
      </div>
      <div role="cell" class="c-x num two">
        {up === undefined ? "" : formatSpan(up)}
      </div>
    </div>
  );
}

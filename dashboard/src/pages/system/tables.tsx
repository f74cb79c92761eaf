/** The tables of the System page: producers, readers, sessions, the log and the versions. */

import { computed } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useMemo } from "preact/hooks";
import { now } from "../../clock.ts";
import { counted, formatSpan, grouped } from "../../format/span.ts";
import { plain } from "../../format/text.ts";
import { hub } from "../../hub.ts";
import { liveRows } from "../../live.ts";
import { Age } from "../../parts/age.tsx";
import { Icon } from "../../parts/icon.tsx";
import { Lock } from "../../parts/lock.tsx";
import { PanelError } from "../../parts/panel.tsx";
import { useResource } from "../../parts/resource.ts";
import { Go, hrefOf } from "../../router.tsx";
import { whoami } from "../../session.ts";
import { formatBytes } from "../events/describe.ts";
import {
  type ClientFacts,
  type ConnectionCount,
  describePaths,
  type ProducerFacts,
  type ProducerRow,
  producerRows,
  type SystemFacts,
} from "./facts.ts";
import { Table } from "./table.tsx";

/** Producers, and what each holds. */
export function Producers({ producers }: { readonly producers: readonly ProducerFacts[] }): JSX.Element | null {
  // Once a second: progress of what they hold is not the concern of this table.
  const rows = useMemo(
    () => computed(() => (now.value > 0 ? producerRows(producers, liveRows.peek().values()) : [])),
    [producers],
  ).value;
  const away = rows.filter((row) => row.presence === "away").length;
  return (
    <section aria-label="Producers">
      <div class="h-sec">
        <h2>Producers</h2>
        <span class="three">
          {rows.length === 0 ? "none is attached" : `${rows.length - away} attached, ${away} away`}
        </span>
      </div>
      {rows.length === 0 ? null : (
        <Table
          class="prods"
          label="Producers"
          heads={["Host", "Presence", "Holds", "Producer", "Lease", "Heard"]}
          rows={rows}
        >
          {(row, index) => <ProducerLine key={row.producerId} row={row} index={index} />}
        </Table>
      )}
    </section>
  );
}

function ProducerLine({ row, index }: { readonly row: ProducerRow; readonly index: number }): JSX.Element {
  const isAway = row.presence === "away";
  return (
    <div class="lrow" role="row" aria-rowindex={index}>
      <div role="cell" class="c-h who mid">
        <Icon name={isAway ? "away" : "live"} class={isAway ? "s-away" : "s-complete"} />
        <span class="cut">{plain(row.host) || plain(row.producerId)}</span>
      </div>
      <div role="cell" class={`c-x ${isAway ? "say-warn" : "two"}`}>
        {row.presence}
      </div>
      <div role="cell" class="c-n cut">
        <bdi>{row.holds.map(plain).join(", ")}</bdi>
      </div>
      <div role="cell" class="c-x mono two cut">
        <Go href={hrefOf("operations", { producer: row.producerId })}>{plain(row.producerId)}</Go>
      </div>
      <div role="cell" class="c-x num two">
        {row.leaseS === undefined ? "" : formatSpan(row.leaseS)}
      </div>
      <div role="cell" class="num two">
        {row.heardAt === undefined ? "" : <Age at={row.heardAt} />}
      </div>
    </div>
  );
}

interface ClientsProps {
  /** Undefined where the hub does not show them. */
  readonly clients: readonly ClientFacts[] | undefined;
  /** Whether the hub has several processes, to one of which each client is connected. */
  readonly hasWorkers: boolean;
  readonly counts: NonNullable<SystemFacts["connections"]>;
}

const COUNTS: readonly (readonly [ConnectionCount, string])[] = [
  ["websockets", "WebSockets"],
  ["streams", "event streams"],
  ["live", "live"],
  ["catching_up", "catching up"],
  ["waiting", "waiting"],
];

const CLIENT_STATES: Readonly<Record<ClientFacts["state"], readonly [string, string]>> = {
  live: ["live", "two"],
  idle: ["reads nothing", "three"],
  catching_up: ["catching up", "say-warn"],
  slow: ["slow", "say-warn"],
};

const CLIENT_HEADS = ["Reads", "Publishes as", "Pace", "Behind", "Waiting"];

/** Connections in numbers, and one by one. */
export function Clients({ clients, counts, hasWorkers }: ClientsProps): JSX.Element | null {
  const { open, opened, waiting_bytes: waiting } = counts;
  if (open === undefined) return null;
  return (
    <section aria-label="Connections">
      <div class="h-sec">
        <h2>Connections</h2>
        <span class="three">
          {grouped(open)} open
          {opened === undefined ? "" : `, ${grouped(opened)} since the hub began`}
        </span>
      </div>
      <p class="bits sec-pad frozen">
        {COUNTS.map(([name, words]) => {
          const count = counts[name];
          return count === undefined ? null : (
            <span key={name}>
              <b>{grouped(count)}</b> {words}
            </span>
          );
        })}
        {waiting ? (
          <span>
            <b>{formatBytes(waiting)}</b> waiting for slow clients
          </span>
        ) : null}
      </p>
      {clients === undefined ? (
        <p class="sec-pad">
          <Lock grant="admin" what="Seeing each connection" />
        </p>
      ) : null}
      {clients === undefined || clients.length === 0 ? null : (
        <Table
          class={hasWorkers ? "clients of-workers" : "clients"}
          label="Connections"
          heads={["Client", "State", ...(hasWorkers ? ["Worker"] : []), ...CLIENT_HEADS]}
          rows={clients}
        >
          {(client, index) => (
            <ClientLine key={client.connection_id} client={client} index={index} hasWorkers={hasWorkers} />
          )}
        </Table>
      )}
      {clients !== undefined && clients.length < open ? (
        <p class="sec-pad two">
          The {grouped(clients.length)} that are furthest behind or newest are listed, of {grouped(open)}.
        </p>
      ) : null}
    </section>
  );
}

interface ClientLineProps {
  readonly client: ClientFacts;
  readonly index: number;
  readonly hasWorkers: boolean;
}

function ClientLine({ client, index, hasWorkers }: ClientLineProps): JSX.Element {
  const [state, tone] = CLIENT_STATES[client.state];
  return (
    <div class="lrow" role="row" aria-rowindex={index}>
      <div role="cell" class="cut" title={client.connection_id}>
        {plain([client.subject, client.address].filter(Boolean).join(" at ")) || <code>{client.connection_id}</code>}
        {client.kind === "stream" ? <span class="three"> over a stream</span> : null}
      </div>
      <div role="cell" class={tone}>
        {state}
      </div>
      {hasWorkers ? (
        <div role="cell" class="c-x two cut">
          {plain(client.source)}
        </div>
      ) : null}
      <div role="cell" class="c-x two cut">
        {plain(describePaths(client))}
      </div>
      <div role="cell" class="c-x two cut">
        {client.producer_id === undefined ? "" : plain(client.producer_id)}
      </div>
      <div role="cell" class="c-x num two">
        {client.pace_ms ? `${grouped(client.pace_ms)} ms` : ""}
      </div>
      <div role="cell" class="num two">
        {client.behind_events ? counted(client.behind_events, "event") : ""}
      </div>
      <div role="cell" class="c-x num two">
        {client.waiting_bytes ? formatBytes(client.waiting_bytes) : ""}
      </div>
    </div>
  );
}

interface Session {
  readonly subject: string;
  readonly credential_id?: string;
  readonly credential_source: string;
  readonly address?: string;
  readonly path?: string;
  readonly expires_at?: string;
}

/** Sessions that are listed. */
const MAX_SESSIONS = 100;

/** Who is connected, for administrators of a hub with access control. */
export function Sessions({
  isAdmin,
  identifies,
}: {
  readonly isAdmin: boolean;
  readonly identifies: boolean;
}): JSX.Element | null {
  if (!identifies) return null;
  return (
    <section aria-label="Sessions">
      <div class="h-sec">
        <h2>Sessions</h2>
      </div>
      {isAdmin ? (
        <SessionTable />
      ) : (
        <p class="sec-pad">
          <Lock grant="admin" what="Seeing sessions" />
        </p>
      )}
    </section>
  );
}

function SessionTable(): JSX.Element {
  const loaded = useResource(
    (signal) =>
      hub.request<{ sessions: readonly Session[]; next?: string }>("v1/admin/sessions", {
        signal,
        query: { limit: MAX_SESSIONS },
      }),
    "sessions",
  );
  const sessions = loaded.value.value?.sessions ?? [];
  return (
    <>
      {loaded.error.value === undefined ? null : (
        <PanelError what="the sessions" error={loaded.error.value} onRetry={loaded.reload} />
      )}
      {sessions.length === 0 ? null : (
        <Table
          class="sessions"
          label="Sessions"
          heads={["Subject", "Address", "Path", "Source", "Expires"]}
          rows={sessions}
        >
          {(session, index) => (
            <div key={index} class="lrow" role="row" aria-rowindex={index}>
              <div role="cell" class="cut">
                {plain(session.subject)}
              </div>
              <div role="cell" class="c-x two cut">
                {plain(session.address)}
              </div>
              <div role="cell" class="two cut mono">
                {plain(session.path)}
              </div>
              <div role="cell" class="c-x two">
                {plain(session.credential_source)}
              </div>
              <div role="cell" class="num two">
                {session.expires_at === undefined ? (
                  ""
                ) : (
                  <Age at={session.expires_at} words={untilWords(session.expires_at)} />
                )}
              </div>
            </div>
          )}
        </Table>
      )}
      {loaded.value.value?.next === undefined ? null : (
        <p class="sec-pad two">Only the {grouped(MAX_SESSIONS)} oldest are listed.</p>
      )}
    </>
  );
}

/** Words for a time ahead, which an age cannot be. */
function untilWords(at: string): () => string {
  return () => {
    const seconds = (Date.parse(at) - now.value) / 1000;
    return seconds > 0 ? `in ${formatSpan(seconds)}` : "now";
  };
}

/** What the log holds, and what it may hold. */
export function LogFacts({ facts }: { readonly facts: SystemFacts | undefined }): JSX.Element | null {
  const log = facts?.log;
  if (log === undefined) return null;
  const { retention = {} } = log;
  return (
    <section aria-label="Log">
      <div class="h-sec">
        <h2>Log</h2>
        <span class="three">{log.kind === "memory" ? "in memory: lost when the hub ends" : "on disk"}</span>
      </div>
      <dl class="facts wide-facts sec-pad frozen">
        <Fact
          name="Events"
          value={log.events === undefined ? undefined : limited(grouped(log.events), retention.events, grouped)}
        />
        <Fact
          name="Size"
          value={log.bytes === undefined ? undefined : limited(formatBytes(log.bytes), retention.bytes, formatBytes)}
        />
        <Fact name="On disk" value={log.disk_bytes ? formatBytes(log.disk_bytes) : undefined} />
        <Fact name="Free" value={log.disk_free_bytes === undefined ? undefined : formatBytes(log.disk_free_bytes)} />
        <Fact
          name="Keeps"
          value={retention.age_s === undefined ? undefined : `at most ${formatSpan(retention.age_s)}`}
        />
        <Fact
          name="Trimmed"
          value={log.trimmed_events === undefined ? undefined : counted(log.trimmed_events, "event")}
        />
        <Fact name="Head" value={log.head === undefined ? undefined : <code>{log.head}</code>} />
      </dl>
    </section>
  );
}

function limited(value: string, limit: number | undefined, write: (value: number) => string): string {
  return limit === undefined ? value : `${value} of ${write(limit)}`;
}

function Fact({ name, value }: { readonly name: string; readonly value: ComponentChildren }): JSX.Element | null {
  if (value === undefined) return null;
  return (
    <>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </>
  );
}

/** Which hub, which contract, and which page this is. */
export function Versions({ facts }: { readonly facts: SystemFacts | undefined }): JSX.Element {
  const who = whoami.value;
  return (
    <section aria-label="Versions">
      <div class="h-sec">
        <h2>Versions</h2>
      </div>
      <dl class="facts wide-facts sec-pad">
        <Fact name="Hub" value={facts?.version ?? who?.version} />
        <Fact
          name="Contract"
          value={
            facts?.contract === undefined ? undefined : (
              <>
                {facts.contract.version} <code class="three">{facts.contract.hash}</code>{" "}
                <a href="docs" target="_blank" rel="noopener">
                  Read it
                </a>
              </>
            )
          }
        />
        <Fact
          name="Pages"
          value={(facts?.build ?? who?.build) === undefined ? undefined : <code>{facts?.build ?? who?.build}</code>}
        />
        <Fact name="Began" value={facts?.started_at === undefined ? undefined : <Age at={facts.started_at} />} />
      </dl>
    </section>
  );
}

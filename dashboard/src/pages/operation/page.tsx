/** The page of one operation. */

import { backToList } from "../operations/last-list.ts";
import "./operation.css";
import { type ReadonlySignal, useComputed, useSignal, useSignalEffect } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import { markOpened } from "../../attention.ts";
import { now } from "../../clock.ts";
import { isLive, nameOf } from "../../format/operation.ts";
import { plain } from "../../format/text.ts";
import { formatFullTime } from "../../format/time.ts";
import { isStale } from "../../hub.ts";
import { type Command as KeyCommand, useCommands } from "../../keys.ts";
import { addressOf } from "../../mount.ts";
import { usePageTitle } from "../../page-title.ts";
import { errorFacts, Panel, PanelError, Skeleton } from "../../parts/panel.tsx";
import { hrefOf, navigate, useQuery } from "../../router.tsx";
import { whoami } from "../../session.ts";
import { zone } from "../../settings.ts";
import type { LogLine, LogModel } from "../log/log-model.ts";
import { LogViewer } from "../log/log-viewer.tsx";
import { Children } from "./children.tsx";
import { commandsFor } from "./commands.ts";
import { attemptsOf, type OperationDetail } from "./detail.ts";
import { ErrorSection } from "./error-section.tsx";
import { type ErrorContext, errorMarkdown, lastErrorOf } from "./error-text.ts";
import { Commands, Facts, Result } from "./facts.tsx";
import { Gone } from "./gone.tsx";
import { Head } from "./head.tsx";
import { type OperationData, useOperationData } from "./operation-data.ts";
import { ProgressChart } from "./progress-chart.tsx";
import { Runs } from "./runs.tsx";
import { sentenceOf } from "./sentence.ts";
import { TimeLineSection } from "./time-line.tsx";

/** The page of the operation that the address names. */
export function OperationPage(): JSX.Element {
  const query = useQuery();
  const id = query.get("id") ?? "";
  if (id === "") return <Gone operationId="" name={query.get("name") ?? ""} hint="" />;
  return <OneOperation key={id} id={id} name={query.get("name") ?? ""} />;
}

function OneOperation({ id, name }: { readonly id: string; readonly name: string }): JSX.Element {
  const data = useOperationData(id);
  const isKnown = useComputed(() => data.detail.value !== undefined);
  const error = data.error.value;
  const facts = error === undefined ? undefined : errorFacts(error);
  usePageTitle(useTitle(id, data.detail).value);
  if (facts?.code === "operation_unknown") return <Gone operationId={id} name={name} hint={facts.hint} />;
  if (!isKnown.value) {
    if (error !== undefined) return <PanelError what="the operation" error={error} onRetry={data.reload} />;
    return <Skeleton label="Reading the operation" />;
  }
  return <Known id={id} data={data} detail={data.detail as ReadonlySignal<OperationDetail>} />;
}

function useTitle(id: string, detail: ReadonlySignal<OperationDetail | undefined>): ReadonlySignal<string> {
  return useComputed(() => {
    const known = detail.value;
    if (known === undefined) return plain(id);
    const word = known.state === "running" ? "" : `${known.state.charAt(0).toUpperCase()}${known.state.slice(1)} · `;
    return `${word}${nameOf(known)}`;
  });
}

interface KnownProps {
  readonly id: string;
  readonly data: OperationData;
  readonly detail: ReadonlySignal<OperationDetail>;
}

/** The page once the operation was read. Only changes of these computed values draw it again; progress does not. */
function Known({ id, data, detail }: KnownProps): JSX.Element {
  const context = useSignal<ErrorContext<LogLine> | undefined>(undefined);
  const attempt = useSignal<number | undefined>(undefined);
  const isRunning = useComputed(() => isLive(detail.value));
  const shape = useComputed(() => shapeOf(detail.value));
  void shape.value;
  const known = detail.peek();
  useSignalEffect(() => markOpened(detail.value));
  useNameInAddress(id, known.name);
  useRunKeys(detail);
  const commands = useMemo(
    () => commandsFor(id, addressOf("./"), isRunning.value, whoami.value?.identifies === true),
    [id, isRunning.value, whoami.value?.identifies],
  );
  const { isWhole } = data;
  const markdown = () => {
    const { head, rest } = sentenceOf(detail.peek(), now.peek());
    return errorMarkdown({
      operation: detail.peek(),
      name: nameOf(detail.peek()),
      sentence: head + rest,
      href: location.href,
      context: context.peek(),
      time: (at) => (Number.isNaN(at) ? "" : formatFullTime(at, zone.peek())),
    });
  };
  const onLines = (model: LogModel) => {
    const { error, attempt } = detail.peek();
    const lines = error ? [...model.lines()].filter((line) => line.attempt === attempt) : [];
    context.value = lastErrorOf(lines);
  };
  const onAttempt = (chosen: number | undefined) => {
    attempt.value = chosen;
  };
  return (
    <>
      <Head detail={detail} commands={commands} markdown={markdown} />
      <div class="cols">
        <div>
          <ErrorSection detail={known} context={context.value} markdown={markdown} />
          {isWhole.value ? (
            <>
              <Panel what="the attempts">
                <TimeLineSection detail={detail} attempt={attempt.value} onAttempt={onAttempt} />
              </Panel>
              <Panel what="the progress">
                <ProgressChart detail={detail} history={data.history} progressed={data.progressed} />
              </Panel>
              <Result detail={known} />
              <Panel what="the log">
                <LogViewer
                  operationId={id}
                  attempts={attemptsOf(known).at(-1)?.attempt ?? known.attempt}
                  attempt={attempt.value}
                  onAttempt={onAttempt}
                  isPage={false}
                  onLines={onLines}
                />
              </Panel>
            </>
          ) : (
            <Missing data={data} />
          )}
        </div>
        <aside class="side" aria-label="About this operation">
          <Panel what="the parts">
            <Children detail={detail} />
          </Panel>
          <Facts detail={known} />
          <Runs detail={known} />
          <Commands commands={commands} />
        </aside>
      </div>
    </>
  );
}

/** In the place of what only the hub knows: the page was opened while it cannot be asked. */
function Missing({ data }: { readonly data: OperationData }): JSX.Element {
  const what = "attempts, progress, parts, result, runs and log";
  const error = data.error.value;
  if (error !== undefined && !isStale.value)
    return <PanelError what={`its ${what}`} error={error} onRetry={data.reload} />;
  return (
    <section class="sec" role="status">
      <p class="two">Its {what} are read when the link is back.</p>
    </section>
  );
}

/** What the page shows of an operation outside of signals: all but what changes with each progress. */
function shapeOf(detail: OperationDetail): string {
  const { progress, heard_at, advanced_at, estimate, message, step, step_ends, log, ...rest } =
    detail as OperationDetail & {
      log?: unknown;
    };
  return JSON.stringify(rest);
}

/** Keeps the name in the address: a link that is opened when the operation is gone still leads to the newest run. */
function useNameInAddress(id: string, name: string): void {
  const query = useQuery();
  useEffect(() => {
    if (name === "" || query.get("name") === name || query.get("id") !== id) return;
    const line = query.get("line") ?? undefined;
    navigate(hrefOf("operation", { id, name, line }), { replace: true });
  }, [id, name, query]);
}

function useRunKeys(detail: ReadonlySignal<OperationDetail>): void {
  const commands = useMemo<readonly KeyCommand[]>(() => {
    const go = (which: "previous" | "next") => {
      const run = detail.peek()[which];
      if (run === undefined) return false;
      navigate(hrefOf("operation", { id: run.operation_id, name: detail.peek().name }));
      return true;
    };
    return [
      { keys: ["["], does: "to the previous run of this name", run: () => go("previous") },
      { keys: ["]"], does: "to the next run of this name", run: () => go("next") },
      { keys: ["Escape"], does: "back to the list", run: backToList },
    ];
  }, [detail]);
  useCommands(commands);
}

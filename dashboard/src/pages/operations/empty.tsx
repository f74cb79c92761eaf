/** The four reasons why the list shows nothing. */

import type { JSX } from "preact";
import { ForbiddenError } from "tidings";
import { formatSpan } from "../../format/span.ts";
import { connection, hub } from "../../hub.ts";
import { CopyLine } from "../../parts/copy.tsx";
import { Icon } from "../../parts/icon.tsx";
import { Lock } from "../../parts/lock.tsx";
import { PanelError, Skeleton } from "../../parts/panel.tsx";
import { mayDo, seesAll, whoami } from "../../session.ts";
import { changeFilter } from "./address.ts";
import { withoutFilters } from "./filter.ts";
import { filter, type ListState, listError, readAgain, totals } from "./model.ts";
import "./first.css";

/** What stands in the place of the list. */
export function Empty({ state }: { readonly state: Exclude<ListState, "rows"> }): JSX.Element | null {
  const error = listError.value;
  if (error instanceof ForbiddenError || !mayDo("read", "operations")) return <NotPermitted />;
  switch (state) {
    case "loading":
      return connection.value.state === "closed" ? null : <Skeleton rows={10} label="The operations are being read" />;
    case "failed":
      return <PanelError what="the operations" error={error} onRetry={readAgain} />;
    case "nothing-matches":
      return <NothingMatches />;
    case "nothing-yet":
      return <NothingYet />;
  }
}

function NotPermitted(): JSX.Element {
  const subject = whoami.value?.subject;
  return (
    <div class="empty">
      <h2>You may not see operations here</h2>
      <p>
        <Lock what="Seeing operations" grant="read operations" />
      </p>
      <p>
        {subject === undefined
          ? "Sign in with a key that has it."
          : `${subject} does not have it. Ask who runs this hub, or sign in as someone else.`}
      </p>
    </div>
  );
}

function NothingMatches(): JSX.Element {
  const all = totals.value;
  return (
    <div class="empty" role="status">
      <h2>Nothing matches</h2>
      <p>
        {all === undefined
          ? "No operation that the hub still has fits these filters."
          : "The hub has searched all operations that it still has; none fits these filters."}
      </p>
      <div class="acts">
        <button type="button" class="btn" onClick={() => changeFilter(withoutFilters(filter.peek()))}>
          Remove all filters
        </button>
      </div>
    </div>
  );
}

/** The hub has never run anything: how to begin. */
function NothingYet(): JSX.Element {
  const url = hub.url.replace(/\/$/, "");
  const needsKey = whoami.value?.identifies === true;
  const credential = needsKey ? ' -H "Authorization: Bearer $TIDINGS_TOKEN"' : "";
  const example = `curl${credential} --json '{"type":"operation:progress","data":{"operation_id":"hello","progress":40}}' ${url}/v1/events`;
  return (
    <div class="first">
      <h1>{seesAll("operations") ? "Nothing has run here yet" : "Nothing has run here yet that you may see"}</h1>
      <p class="lead">
        Put these three lines into a terminal. The bar of the command appears here while it runs; this page need not be
        reloaded.
      </p>
      <ol>
        <li>
          <span>1</span>
          <p>Install tidings.</p>
          <CopyLine text="pip install 'tidings[all]'" label="Copy: install" />
        </li>
        <li>
          <span>2</span>
          <p>Tell it where this hub is{needsKey ? ", and who you are" : ""}.</p>
          <CopyLine text={`export TIDINGS_URL=${url}${needsKey ? " TIDINGS_TOKEN=…" : ""}`} label="Copy: address" />
        </li>
        <li>
          <span>3</span>
          <p>Run any command. Percentages and progress bars in its output become progress.</p>
          <CopyLine text="tidings run -- pytest" label="Copy: run" />
        </li>
      </ol>
      <Waiting />
      <h2>Without installing anything</h2>
      <p class="two gap">One post is an operation:</p>
      <CopyLine text={example} label="Copy: curl" />
    </div>
  );
}

function Waiting(): JSX.Element {
  const { state, since } = connection.value;
  if (state === "live") {
    return (
      <p class="wait" role="status">
        <Icon name="live" class="s-complete" />
        Connected to {location.host}. Waiting for the first operation.
      </p>
    );
  }
  return (
    <p class="wait" role="status">
      <Icon name="queued" />
      {state === "connecting"
        ? `Connecting to ${location.host}.`
        : `Not connected for ${formatSpan((Date.now() - since) / 1000)}.`}
    </p>
  );
}

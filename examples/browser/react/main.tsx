import { createRoot } from "react-dom/client";
import { HubProvider, useConnection, useHub, useOperation, useOperations } from "tidings/react";

const HUB = import.meta.env.VITE_HUB ?? "http://127.0.0.1:8765/";

function Jobs() {
  const { status, ids, error } = useOperations();
  const { state } = useConnection();
  if (status === "failed") return <p role="alert">{`${error?.message}. ${error?.hint}`}</p>;
  return (
    <>
      {state === "stale" && <p role="status">The connection to the hub is lost: this may be old.</p>}
      <ul>
        {ids.map((id) => (
          <Job key={id} id={id} />
        ))}
      </ul>
    </>
  );
}

function Job({ id }: { id: string }) {
  const job = useOperation(id);
  const hub = useHub();
  if (!job) return null;
  return (
    <li>
      {job.name || id}: {job.state} <progress max={100} value={job.progress} aria-label={job.name || id} />
      {job.state === "running" && (
        <button type="button" onClick={() => void hub.cancel(id, { reason: "not needed" })}>
          Cancel
        </button>
      )}
    </li>
  );
}

const root = document.getElementById("root");
if (root !== null) {
  createRoot(root).render(
    <HubProvider url={HUB}>
      <h1>Jobs</h1>
      <Jobs />
    </HubProvider>,
  );
}

import "../page.ts";
import { type ReactNode, StrictMode } from "react";
import { createRoot, hydrateRoot, type Root } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { type ConnectOptions, connect } from "../../src/index.ts";
import { HubProvider, useConnection, useEvents, useHub, useOperation, useOperations } from "../../src/react.ts";
import { startHub, type TestHub } from "../hub.ts";

let server: TestHub;
let root: Root | undefined;
let container: HTMLElement;
const errors = vi.spyOn(console, "error");

beforeAll(async () => {
  server = await startHub();
});
afterAll(() => server.stop());
beforeEach(() => {
  container = document.createElement("div");
  document.body.append(container);
  errors.mockClear();
});
afterEach(() => {
  root?.unmount();
  root = undefined;
  container.remove();
  expect(errors.mock.calls).toEqual([]); // React reports unstable snapshots and differences there
});

/** Options that count what a client opens. */
function counted(): { options: ConnectOptions; sockets: Set<WebSocket>; opened: () => number; lists: () => number } {
  const sockets = new Set<WebSocket>();
  let [opened, lists] = [0, 0];
  class CountedWebSocket extends WebSocket {
    constructor(url: string, protocols?: string | string[]) {
      super(url, protocols);
      opened += 1;
      sockets.add(this);
      this.addEventListener("close", () => sockets.delete(this));
    }
  }
  const fetchCounted: typeof fetch = (input, init) => {
    if (/\/v1\/operations(\?|$)/.test(String(input))) lists += 1;
    return fetch(input, init);
  };
  const options = { WebSocket: CountedWebSocket, fetch: fetchCounted };
  return { options, sockets, opened: () => opened, lists: () => lists };
}

function render(node: ReactNode): void {
  root = createRoot(container);
  root.render(node);
}

function List(): ReactNode {
  const { status, operations } = useOperations();
  return (
    <ul data-status={status}>
      {operations.map((one) => (
        <li key={one.operation_id}>
          {one.name} {one.progress ?? "?"} {one.state}
        </li>
      ))}
    </ul>
  );
}

const paragraph = (): string | null | undefined => container.querySelector("p")?.textContent;
const text = (): string => container.textContent ?? "";

test("a list follows the operations of a hub", async () => {
  await server.publish({ type: "operation:start", data: { operation_id: "list-1", name: "nightly" } });
  render(
    <HubProvider url={server.url}>
      <List />
    </HubProvider>,
  );
  await vi.waitFor(() => expect(text()).toContain("nightly ? running"));
  await server.publish(
    { type: "operation:progress", data: { operation_id: "list-1", progress: 40 } },
    { type: "operation:start", data: { operation_id: "list-2", name: "hourly" } },
  );
  await vi.waitFor(() => expect(text()).toMatch(/hourly.*nightly 40 running/));
  await server.publish({ type: "operation:complete", data: { operation_id: "list-1" } });
  await vi.waitFor(() => expect(text()).toContain("nightly 100 complete"));
});

test("StrictMode reads the list once, over one connection", async () => {
  const { options, opened, lists } = counted();
  render(
    <StrictMode>
      <HubProvider url={server.url} options={options}>
        <List />
        <List />
      </HubProvider>
    </StrictMode>,
  );
  await vi.waitFor(() => expect(container.querySelectorAll('[data-status="ready"]')).toHaveLength(2));
  await server.publish({ type: "operation:start", data: { operation_id: "strict-1", name: "once" } });
  await vi.waitFor(() => expect(text()).toContain("once"));
  expect([lists(), opened()]).toEqual([1, 1]);
});

test("replaced modules and unmounted trees leave no connection behind", async () => {
  const { options, sockets } = counted();
  const tree = (key: string): ReactNode => (
    <HubProvider key={key} hub={connect(server.url, options)}>
      <List />
    </HubProvider>
  );
  render(tree("before"));
  await vi.waitFor(() => expect(sockets.size).toBe(1));
  const [first] = sockets;
  root?.render(tree("after")); // as after a hot reload: another client, and the old one without listeners
  await vi.waitFor(() => expect([first?.readyState, sockets.size]).toEqual([WebSocket.CLOSED, 1]), { timeout: 9_000 });
  root?.unmount();
  await vi.waitFor(() => expect(sockets.size).toBe(0), { timeout: 9_000 });
}, 20_000);

test("hydration finds what the server rendered, and goes on with the hub", async () => {
  const app = (
    <HubProvider url={server.url}>
      <List />
      <State />
    </HubProvider>
  );
  await server.publish({ type: "operation:start", data: { operation_id: "hydrated-1", name: "hydrated" } });
  container.innerHTML = renderToString(app);
  expect(text()).toBe("connecting");
  const recovered: unknown[] = [];
  root = hydrateRoot(container, app, { onRecoverableError: (error) => recovered.push(error) });
  await vi.waitFor(() => expect(text()).toMatch(/hydrated.*live/));
  expect(recovered).toEqual([]);
});

function State(): ReactNode {
  return <p>{useConnection().state}</p>;
}

let rendered = 0;

function One(): ReactNode {
  const operation = useOperation("own-1");
  rendered += 1;
  return <p>{operation === undefined ? "…" : operation === null ? "unknown" : (operation.progress ?? "begun")}</p>;
}

test("one operation is rendered for its own events alone", async () => {
  await server.publish(
    { type: "operation:start", data: { operation_id: "own-1", name: "own" } },
    { type: "operation:start", data: { operation_id: "other-1", name: "other" } },
  );
  render(
    <HubProvider url={server.url}>
      <One />
      <List />
    </HubProvider>,
  );
  await vi.waitFor(() => expect(paragraph()).toBe("begun"));
  const before = rendered;
  for (const progress of [10, 20, 30]) {
    await server.publish({ type: "operation:progress", data: { operation_id: "other-1", progress } });
    await vi.waitFor(() => expect(text()).toContain(`other ${progress} running`));
  }
  expect(rendered).toBe(before);
  await server.publish({ type: "operation:progress", data: { operation_id: "own-1", progress: 5 } });
  await vi.waitFor(() => expect(paragraph()).toBe("5"));
});

function Missing(): ReactNode {
  return <p>{String(useOperation("never"))}</p>;
}

test("an operation that the hub does not know is null", async () => {
  render(
    <HubProvider url={server.url}>
      <Missing />
    </HubProvider>,
  );
  await vi.waitFor(() => expect(text()).toBe("null"));
});

function Tail(): ReactNode {
  const { events, live } = useEvents(["data/tail"], { limit: 2 });
  return <p>{`${live} ${events.map((event) => (event.data as { version: number }).version).join()}`}</p>;
}

function Publish(): ReactNode {
  const hub = useHub();
  return (
    <button type="button" onClick={() => void hub.publish("data:update", { dataset: "tail", version: 9 })}>
      Publish
    </button>
  );
}

test("recent events are the newest ones, whatever array names the paths", async () => {
  render(
    <HubProvider url={server.url}>
      <Tail />
      <Publish />
    </HubProvider>,
  );
  await vi.waitFor(() => expect(paragraph()).toBe("true "));
  for (const version of [1, 2, 3]) await server.publish({ type: "data:update", data: { dataset: "tail", version } });
  await vi.waitFor(() => expect(paragraph()).toBe("true 2,3"));
  container.querySelector("button")?.click();
  await vi.waitFor(() => expect(paragraph()).toBe("true 3,9"));
});

test("a hook without a provider says what is missing", () => {
  expect(() => renderToString(<List />)).toThrow("no hub");
});

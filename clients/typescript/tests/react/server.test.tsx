/** Rendering on a server: there is no document, no connection is made, and a relative URL is valid. */
import { renderToString } from "react-dom/server";
import { expect, test } from "vitest";
import { HubProvider, useConnection, useEvents, useHub, useOperation, useOperations } from "../../src/react.ts";

function Page() {
  const { status, operations } = useOperations();
  const facts = [status, operations.length, String(useOperation("a")), useConnection().state];
  return <p>{[...facts, useEvents("data").events.length].join(" ")}</p>;
}

test("a server renders what is known before the first connection", () => {
  const page = renderToString(
    <HubProvider url="/hub/">
      <Page />
    </HubProvider>,
  );
  expect(page).toBe("<p>loading 0 undefined connecting 0</p>");
});

function Publisher() {
  useHub();
  return null;
}

test("a server has no client to publish with", () => {
  const page = (
    <HubProvider>
      <Publisher />
    </HubProvider>
  );
  expect(() => renderToString(page)).toThrow("there is no client");
});

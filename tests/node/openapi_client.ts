// A client from openapi-typescript: publishes one event, reads it back, and shows the operation. Its argument is the hub.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

export async function run(hub: string): Promise<unknown> {
  const client = createClient<paths>({ baseUrl: hub });
  const start: components["schemas"]["Publication"] = {
    type: "operation:start",
    data: { operation_id: "from-typescript", name: "a client" },
  };
  const published = await client.POST("/v1/events", { body: start });
  if (published.data === undefined || !("position" in published.data)) throw new Error(JSON.stringify(published.error));
  const refused = await client.POST("/v1/events", {
    body: { type: "operation:progress", data: { operation_id: "from-typescript", progress: 101 } },
  });
  const { data: history } = await client.GET("/v1/events", { params: { query: { channel: ["operations"] } } });
  const names: string[] = [];
  for (const event of history?.events ?? []) {
    // The type of the event determines the type of its data.
    if (event.type === "operation:start") names.push(event.data.name ?? "");
  }
  const { data: operation } = await client.GET("/v1/operations/{operation_id}", {
    params: { path: { operation_id: "from-typescript" } },
  });
  const state: components["schemas"]["OperationState"] | undefined = operation?.state;
  return { position: published.data.position, refused: refused.error?.code, names, state };
}

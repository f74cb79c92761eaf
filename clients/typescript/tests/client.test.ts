/** The whole client against a real hub. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { connect, type Hub, type WatchItem } from "../src/index.ts";
import { BUILT_IN_CONTRACT } from "../src/paths.ts";
import { startHub, type TestHub } from "./hub.ts";

let server: TestHub;
let hubs: Hub[] = [];

beforeAll(async () => {
  server = await startHub();
});
afterEach(() => {
  for (const hub of hubs) hub.close();
  hubs = [];
});
afterAll(() => server.stop());

function open(): Hub {
  const hub = connect(server.url);
  hubs.push(hub);
  return hub;
}

test("a watch yields the snapshot, then what is published", async () => {
  await server.publish({ type: "data:update", data: { dataset: "first", version: 1 } });
  const hub = open();
  const items: WatchItem[] = [];
  for await (const item of hub.watch("data/first")) {
    items.push(item);
    if (item.type === "channel:live")
      await server.publish({ type: "data:update", data: { dataset: "first", version: 2 } });
    if (items.length === 4) break;
  }
  expect(items.map(({ type }) => type)).toEqual(["channel:subscribed", "data:update", "channel:live", "data:update"]);
  expect(hub.connection.getSnapshot()).toMatchObject({ state: "live", reason: { code: "connected" } });
});

test("the hash of the built-in contract is that of a hub without types of an application", async () => {
  const { contract } = await open().request<{ contract: { hash: string } }>("");
  expect(contract.hash).toBe(BUILT_IN_CONTRACT);
});

test("a second watch of the same path gets its own snapshot", async () => {
  await server.publish({ type: "data:update", data: { dataset: "second", version: 1 } });
  const hub = open();
  const versions = async (): Promise<unknown[]> => {
    const found: unknown[] = [];
    for await (const item of hub.watch("data/second")) {
      if (item.type === "data:update") found.push(item.data);
      if (item.type === "channel:live") break;
    }
    return found;
  };
  const kept = hub.watch("data");
  for (let item = await kept.next(); item.value.type !== "channel:live"; item = await kept.next());
  expect(await versions()).toEqual([{ dataset: "second", version: 1 }]);
});

test.each(["op-1", "a/b", ".", ".."])("an event is published and its operation cancelled: %s", async (id) => {
  const hub = open();
  const accepted = await hub.publish("operation:start", { operation_id: id, name: "nightly", queued: true });
  expect(accepted).toMatchObject({ attempt: 1 });
  expect(await hub.cancel(id)).toMatchObject({ outcome: "cancelled", state: "cancelled" });
  expect(await hub.request("v1/operation", { query: { operation_id: id } })).toMatchObject({ state: "cancelled" });
  await expect(hub.publish("data:nonsense", {})).rejects.toMatchObject({ code: "unknown_type" });
});

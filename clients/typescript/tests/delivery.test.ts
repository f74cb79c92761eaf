/** Every event arrives once and in order, or in a stated gap, however the network behaves. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect, type Hub, type WatchItem } from "../src/index.ts";
import { startHub, type TestHub } from "./hub.ts";
import { seeded, TcpProxy } from "./tcp-proxy.ts";

const EVENTS = 1_000;
let server: TestHub;

beforeAll(async () => {
  server = await startHub();
});
afterAll(() => server.stop());

function data(dataset: string, version: number): { type: string; data: unknown } {
  return { type: "data:update", data: { dataset, version } };
}

/** Publish numbered events in small batches; every fifth is of another key. */
async function publishAll(run: string): Promise<void> {
  for (let first = 0; first < EVENTS; first += 20) {
    const numbers = Array.from({ length: 20 }, (_, index) => first + index);
    await server.publish(...numbers.map((number) => data(`${run}.${number % 5 === 0 ? "b" : "a"}`, number)));
  }
  await server.publish(data(`${run}.end`, EVENTS));
}

/** Read the versions of a watch up to the last one. */
async function read(hub: Hub, paths: string | string[], since: string, run: string): Promise<number[]> {
  const versions: number[] = [];
  for await (const item of hub.watch(paths, { since })) {
    const found = versionOf(item, run);
    if (found === EVENTS) break;
    if (found !== undefined) versions.push(found);
  }
  return versions;
}

function versionOf(item: WatchItem, run: string): number | undefined {
  if (item.type === "channel:gap" || item.type === "client:overflow") throw new Error(JSON.stringify(item));
  if (!("position" in item)) return undefined;
  const { dataset, version } = item.data as { dataset: string; version: number };
  return dataset.startsWith(`${run}.`) ? version : undefined;
}

const ALL = Array.from({ length: EVENTS }, (_, index) => index);
const FIFTHS = ALL.filter((version) => version % 5 === 0);

describe.each(["websocket", "sse"] as const)("over %s", (transport) => {
  test.each([11, 12, 13])("with connections cut at random, seed %i", async (seed) => {
    const random = seeded(seed);
    const proxy = await TcpProxy.start(server.port, () => 2_000 + random() * 30_000);
    const run = `${transport}${seed}`;
    const [start = ""] = await server.publish(data(`${run}.start`, -1));
    const hub = connect(`http://127.0.0.1:${proxy.port}`, { transport, reconnect: { baseMs: 1, capMs: 4 } });
    const everything = read(hub, "data", start, run);
    const publishing = publishAll(run);
    const late = read(hub, [`data/${run}.b`, `data/${run}.end`], start, run);
    await publishing;
    const later = read(hub, `data/${run}*`, start, run);
    expect(await everything).toEqual(ALL);
    expect(await late).toEqual(FIFTHS);
    expect(await later).toEqual(ALL);
    expect(proxy.cuts).toBeGreaterThan(5);
    hub.close();
    await proxy.stop();
  });
});

/**
 * What an event costs the client, in CPU time: parsing, routing, the store of operations, the tail of the Events page.
 * Run by hand; no browser and no hub, but the client itself behind a socket that the benchmark feeds:
 *
 *     node benchmarks/browser/client.ts             # all scenarios
 *     node --cpu-prof benchmarks/browser/client.ts tail
 */
import { HubClient } from "../../clients/typescript/src/client.ts";
import { makeEnvironment } from "../../clients/typescript/src/environment.ts";
import type { WatchItem } from "../../clients/typescript/src/items.ts";
import type { WebSocketConstructor } from "../../clients/typescript/src/options.ts";
import { BUILT_IN_CONTRACT } from "../../clients/typescript/src/paths.ts";
import { FakeSocket, json } from "../../clients/typescript/tests/fakes.ts";
import { Feed } from "../../dashboard/src/pages/events/feed.ts";
import { EVERYTHING } from "../../dashboard/src/pages/events/filter.ts";

const EVENTS = 100_000;
const RUNNING = 1_000;
const ROUNDS = 5;
/** Events in one task, as a page that takes 10,000 of them per second gets them between two frames. */
const BURST = 160;

/** A hub that lists `RUNNING` operations, and the sockets that the client opens to it. */
class Feeder {
  readonly sockets: FakeSocket[] = [];
  readonly client: HubClient;

  constructor() {
    const { sockets } = this;
    // What the client asks: which contract the hub has, and which operations.
    const answer = { contract: { hash: BUILT_IN_CONTRACT }, operations: rows(), position: "c.0" };
    class Socket extends FakeSocket {
      constructor(url: string) {
        super(url);
        sockets.push(this);
      }
    }
    const options = {
      WebSocket: Socket as unknown as WebSocketConstructor,
      fetch: async () => json(answer),
    };
    this.client = new HubClient("http://hub.example/", options, makeEnvironment(options));
  }

  /** Answer the client until its watches are live. */
  async goLive(): Promise<FakeSocket> {
    for (let turn = 0; turn < 20; turn += 1) {
      await new Promise((resolve) => setTimeout(resolve));
      for (const socket of this.sockets) {
        if (socket.readyState === 0) {
          socket.open();
          socket.greet("none", "c.0");
        }
        for (const { id, data } of socket.sentOf("channel:subscribe")) {
          if (answered.has(`${socket.url} ${id}`)) continue;
          answered.add(`${socket.url} ${id}`);
          const { channels } = data;
          const notice = { channels, position: "c.0", outcome: "live" };
          socket.receive({ type: "channel:subscribed", reply_to: id, data: notice });
          socket.receive({ type: "channel:live", reply_to: id, data: { channels, position: "c.0" } });
        }
      }
    }
    const socket = this.sockets.at(-1);
    if (socket === undefined) throw new Error("the client opened no socket");
    answered.clear();
    return socket;
  }
}

const answered = new Set<string>();

function rows(): unknown[] {
  const at = "2026-03-01T08:00:00.000000000Z";
  return Array.from({ length: RUNNING }, (_, lane) => ({
    operation_id: `load-${lane}`,
    name: `Job ${lane % 40}`,
    state: "running",
    attempt: 1,
    trace_id: "0".repeat(32),
    started_at: at,
    heard_at: at,
    presence: "attached",
  }));
}

/** The messages of a busy hub, as they are on the wire: progress of many jobs, and one event of data in eight. */
function messages(): string[] {
  const began = Date.now();
  return Array.from({ length: EVENTS }, (_, index) => {
    const lane = index % RUNNING;
    const update = Math.floor(index / RUNNING);
    const isData = index % 8 === 7;
    const progress = { operation_id: `load-${lane}`, progress: update, current_step: "read", message: `row ${update}` };
    return JSON.stringify({
      type: isData ? "data:update" : "operation:progress",
      timestamp: new Date(began + index / 10).toISOString(),
      trace_id: lane.toString(16).padStart(32, "0"),
      data: isData
        ? { dataset: `prices-${lane}`, rows: update }
        : { ...progress, total_steps: 2, indeterminate: false },
      channel: isData ? "data" : "operations",
      position: `c3k9.${(index + 1).toString(36)}`,
    });
  });
}

/** Uses a client, and returns what says how many events have arrived. */
type Scenario = (client: HubClient) => () => number;

const scenarios: Readonly<Record<string, Scenario>> = {
  // One callback that gets everything.
  watch(client) {
    let count = 0;
    const take = (item: WatchItem): void => {
      if ("position" in item) count += 1;
    };
    client.watch("*", take, { since: "now" });
    return () => count;
  },
  // A page with a hundred small views, of which an event concerns one or none.
  hundred(client) {
    let count = 0;
    const take = (item: WatchItem): void => {
      if ("position" in item) count += 1;
    };
    for (let lane = 0; lane < 100; lane += 1) client.watch(`operations/load-${lane}`, take, { since: "now" });
    return () => count;
  },
  // The list of operations.
  store(client) {
    client.operations.subscribe(() => {});
    return () => client.operations.getSnapshot().operations.filter(({ progress }) => progress !== undefined).length;
  },
  // The Events page, without what it draws.
  tail(client) {
    const feed = new Feed(client, EVERYTHING);
    feed.start({ at: "now" });
    return () => feed.rows.value.length;
  },
};

/** Feed the messages in bursts; return the CPU time of an event in microseconds. */
async function feed(socket: FakeSocket, texts: readonly string[]): Promise<number> {
  const before = process.cpuUsage();
  for (let first = 0; first < texts.length; first += BURST) {
    const end = Math.min(texts.length, first + BURST);
    for (let index = first; index < end; index += 1) socket.onmessage?.({ data: texts[index] });
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / texts.length;
}

const texts = messages();
const named = process.argv.slice(2);
const parse = new FakeSocket("");
let parsed: unknown;
parse.onmessage = ({ data }) => {
  parsed = JSON.parse(String(data));
};
const floor = [];
for (let round = 0; round < ROUNDS; round += 1) floor.push(await feed(parse, texts));
if (parsed === undefined) throw new Error("nothing was parsed");
console.log(`parse    ${Math.min(...floor).toFixed(2)} µs per event: JSON.parse alone`);
for (const [name, scenario] of Object.entries(scenarios)) {
  if (named.length > 0 && !named.includes(name)) continue;
  const feeder = new Feeder();
  const seen = scenario(feeder.client);
  const socket = await feeder.goLive();
  const costs: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) costs.push(await feed(socket, texts));
  await new Promise((resolve) => setTimeout(resolve, 300)); // the stores publish once more
  if (seen() === 0) throw new Error(`${name}: no event has arrived`);
  console.log(`${name.padEnd(8)} ${Math.min(...costs).toFixed(2)} µs per event, ${seen()} seen`);
}
process.exit();

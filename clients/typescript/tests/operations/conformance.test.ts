/** The fold of the client gives what the hub's own fold gives: random events, valid and invalid, at a real hub. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { connect, type Hub, type Operation } from "../../src/index.ts";
import { startHub, type TestHub } from "../hub.ts";

let hub: TestHub;
const clients: Hub[] = [];

beforeAll(async () => {
  hub = await startHub();
});
afterAll(async () => {
  for (const client of clients) client.close();
  await hub.stop();
});

type Published = { type: string; timestamp?: string; data: { operation_id: string; [name: string]: unknown } };

/** Returns a generator of numbers in [0, 1): the same for the same seed (Mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function randomEvent(random: () => number, prefix: string): Published {
  const pick = <T>(...items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
  const number = Math.floor(random() * 12);
  const attempt = pick<number | undefined>(undefined, undefined, undefined, undefined, 0, 1, 2, 3);
  const data = { operation_id: `${prefix}-${number}`, ...(attempt === undefined ? {} : { attempt }) };
  const event = (type: string, fields: Record<string, unknown>): Published => {
    const given = Object.entries(fields).filter(([, value]) => value !== undefined);
    const aged = random() < 0.3 ? { timestamp: new Date(Date.now() - Math.floor(random() * 3_000)).toISOString() } : {};
    return { type, ...aged, data: { ...data, ...Object.fromEntries(given) } };
  };
  switch (pick("start", "start", "progress", "progress", "progress", "log", "complete", "failed", "cancelled")) {
    case "start":
      return event("operation:start", {
        name: pick("", "nightly", "größe 🚂", "x".repeat(300), "🚂".repeat(300)),
        queued: pick(undefined, undefined, true, false),
        steps: pick(undefined, ["read", "write"], ["s".repeat(300), "t"], Array(250).fill("step")),
        total_steps: pick(undefined, 0, 7),
        parent_id: pick(undefined, undefined, "", `${prefix}-${Math.floor(random() * number)}`, "p".repeat(257)),
        pid: pick(undefined, 0, 4711),
        host: pick(undefined, "h", "h".repeat(400)),
        command: pick(undefined, "run --all", "c".repeat(2_500)),
        user: pick(undefined, "ada"),
        resumes: pick(undefined, "night-0"),
        metadata: pick<unknown>(undefined, undefined, { weight: 3 }, { weight: -1 }, { note: "n".repeat(5_000) }),
      });
    case "progress":
      return event("operation:progress", {
        progress: pick(0, 12.5, Math.round(random() * 1_000) / 10, 100, 101),
        current_step: pick(undefined, "", "read", "write"),
        total_steps: pick(undefined, 0, 3),
        message: pick(undefined, "", "half of it", "m".repeat(2_100)),
        indeterminate: pick(undefined, undefined, undefined, true, false),
      });
    case "log":
      return event("operation:log", {
        message: "a line",
        level: pick("debug", "info", "warning", "error", "critical"),
      });
    case "complete":
      return event("operation:complete", {
        message: pick(undefined, "", "done"),
        duration_ms: pick(undefined, 0, 1_500.5, 1e300),
        result: pick<unknown>(undefined, { rows: 3 }),
      });
    case "failed":
      return event("operation:failed", {
        code: "boom",
        message: pick("it broke", "m".repeat(2_500)),
        details: pick(undefined, "", "trace", "d".repeat(9_000)),
        recoverable: pick(true, false),
        hint: pick(undefined, "", "look at it"),
      });
    default:
      return event("operation:cancelled", {
        reason: pick(undefined, "", "late"),
        cancelled_by: pick(undefined, "ada"),
      });
  }
}

/** Leaves one progress event of each operation: at a pace, a client receives only the newest one of a delivery. */
function withoutConflation(events: readonly Published[]): Published[] {
  const seen = new Set<unknown>();
  return events.filter(({ type, data }) => {
    if (type !== "operation:progress") return true;
    const isFirst = !seen.has(data.operation_id);
    seen.add(data.operation_id);
    return isFirst;
  });
}

/** Publishes events; the hub refuses some of them. Returns how many it accepted. */
async function publish(events: readonly Published[]): Promise<number> {
  const answer = await fetch(`${hub.http}v1/events`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(events),
  });
  const { results } = (await answer.json()) as { results: readonly { position?: string }[] };
  return results.filter(({ position }) => position !== undefined).length;
}

/** Returns a client that follows the operations. */
function follow(): Hub {
  const client = connect(hub.url);
  clients.push(client);
  client.operations.subscribe(() => {});
  return client;
}

function until(client: Hub, condition: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const stop = client.operations.subscribe(check);
    function check(): void {
      if (!condition()) return;
      stop();
      resolve();
    }
    check();
  });
}

/** Resolves when a client has received all that was published before. */
async function settle(following: readonly Hub[], mark: string): Promise<void> {
  await publish([{ type: "operation:start", data: { operation_id: mark } }]);
  await Promise.all(
    following.map((client) =>
      until(client, () => client.operations.getSnapshot().operations.some((one) => one.operation_id === mark)),
    ),
  );
}

const EPOCH = "1970-01-01T00:00:00Z";
const TIMES = ["queued_at", "started_at", "ended_at"] as const;

/** Returns an operation without what a client cannot know exactly: times of receipt, and the hub's own facts. */
function comparable(operation: Operation, knowsPlans: boolean): unknown {
  const { heard_at, advanced_at, duration_s, presence, stalled, estimate, step, ...rest } = operation;
  const rounded = Object.fromEntries(
    Object.entries(rest).filter(([, value]) => value !== undefined && value !== false),
  );
  const { progress } = operation;
  return {
    ...rounded,
    ...Object.fromEntries(TIMES.map((name) => [name, operation[name] !== undefined])),
    ...(progress === undefined ? {} : { progress: Number(progress.toFixed(9)) }),
    isAdvanced: advanced_at !== undefined,
    step: knowsPlans ? step : undefined, // the list does not tell the names of the planned steps
    isLive: presence !== undefined,
  };
}

async function compare(client: Hub, prefix: string, knowsPlans: boolean): Promise<number> {
  const { operations } = await client.request<{ operations: Operation[] }>("v1/operations", { query: { limit: 1000 } });
  const known = new Map(client.operations.getSnapshot().operations.map((one) => [one.operation_id, one]));
  const expected = operations.filter((row) => row.operation_id.startsWith(prefix));
  expect(
    new Map(
      expected.map((row) => [row.operation_id, comparable(known.get(row.operation_id) as Operation, knowsPlans)]),
    ),
  ).toEqual(new Map(expected.map((row) => [row.operation_id, comparable(row, knowsPlans)])));
  for (const row of expected) {
    // The hub counts in nanoseconds, a client in milliseconds.
    const own = known.get(row.operation_id) as Operation;
    const { duration_s = 0 } = row;
    expect(Math.abs((own.duration_s ?? 0) - duration_s), row.operation_id).toBeLessThan(0.002 + duration_s * 1e-9);
    for (const name of TIMES) {
      const difference = Date.parse(own[name] ?? EPOCH) - Date.parse(row[name] ?? EPOCH);
      expect(Math.abs(difference), `${name} of ${row.operation_id}`).toBeLessThan(2);
    }
  }
  return expected.length;
}

test.each([1, 2, 3])(
  "random events, seed %i: a client that was there and one that comes later agree with the hub",
  async (seed) => {
    const random = randomOf(seed);
    const prefix = `s${seed}`;
    const early = follow();
    await until(early, () => early.operations.getSnapshot().status === "ready");
    let accepted = 0;
    let refused = 0;
    const middle = [early];
    for (let round = 0; round < 8; round += 1) {
      const events = withoutConflation(Array.from({ length: 40 }, () => randomEvent(random, prefix)));
      const done = await publish(events);
      accepted += done;
      refused += events.length - done;
      if (round % 3 === 1) middle.push(follow()); // comes while events flow
      await settle(middle, `${prefix}-end-${round}`);
    }
    const late = follow();
    await settle([...middle, late], `${prefix}-end`);
    for (const client of [...middle, late]) {
      expect(await compare(client, prefix, client === early)).toBeGreaterThan(8);
    }
    expect(accepted).toBeGreaterThan(50);
    expect(refused).toBeGreaterThan(50);
  },
  20_000,
);

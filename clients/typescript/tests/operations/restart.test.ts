/** The store of operations over restarts of a real hub. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { connect, type Hub } from "../../src/index.ts";
import { startHub } from "../hub.ts";

const start = (operation_id: string) => ({ type: "operation:start", data: { operation_id } });
const progress = (operation_id: string, percent: number) => ({
  type: "operation:progress",
  data: { operation_id, progress: percent },
});

function states(client: Hub): Record<string, string> {
  const { operations } = client.operations.getSnapshot();
  return Object.fromEntries(operations.map((one) => [one.operation_id, `${one.state} ${one.progress ?? "?"}`]));
}

const PATIENT = { timeout: 20_000 };

test("after a crash of a hub with a log on disk, the store goes on where it was", async () => {
  const data = await mkdtemp(join(tmpdir(), "tidings-restart-"));
  let hub = await startHub({ data });
  const lists: string[] = [];
  const counted: typeof fetch = (input, init) => {
    if (String(input).includes("/v1/operations?")) lists.push(String(input));
    return fetch(input, init);
  };
  const client = connect(hub.url, { fetch: counted, reconnect: { baseMs: 50, capMs: 200 } });
  try {
    client.operations.subscribe(() => {});
    await hub.publish(start("a"), progress("a", 60), progress("a", 30));
    await vi.waitFor(() => expect(states(client)).toEqual({ a: "running 60" }), PATIENT);
    await hub.stop("SIGKILL");
    hub = await startHub({ data, port: hub.port });
    await hub.publish(progress("a", 40), start("b"));
    await vi.waitFor(() => expect(states(client)).toEqual({ a: "running 60", b: "running ?" }), PATIENT);
    await hub.publish({ type: "operation:complete", data: { operation_id: "a" } });
    await vi.waitFor(() => expect(states(client)).toEqual({ a: "complete 100", b: "running ?" }), PATIENT);
    expect(lists).toHaveLength(1);
  } finally {
    client.close();
    await hub.stop();
    await rm(data, { recursive: true });
  }
}, 60_000);

test("after a restart of a hub without a log, the store has what the new one knows", async () => {
  let hub = await startHub();
  const client = connect(hub.url, { reconnect: { baseMs: 50, capMs: 200 } });
  try {
    client.operations.subscribe(() => {});
    await hub.publish(start("lost"), progress("lost", 60));
    await vi.waitFor(() => expect(states(client)).toEqual({ lost: "running 60" }), PATIENT);
    await hub.stop();
    expect(states(client)).toEqual({ lost: "running 60" });
    hub = await startHub({ port: hub.port });
    await hub.publish(start("new"));
    await vi.waitFor(() => expect(states(client)).toEqual({ new: "running ?" }), PATIENT);
  } finally {
    client.close();
    await hub.stop();
  }
}, 60_000);

test("a hub that starts late is found, and its operations are read", async () => {
  const first = await startHub();
  await first.stop();
  const client = connect(first.url, { reconnect: { baseMs: 50, capMs: 200 } });
  client.operations.subscribe(() => {});
  await vi.waitFor(() => expect(client.operations.getSnapshot().status).toBe("failed"), PATIENT);
  expect(client.operations.getSnapshot().error?.hint).toContain("Start the hub");
  const hub = await startHub({ port: first.port });
  try {
    await hub.publish(start("a"));
    await vi.waitFor(
      () => expect(client.operations.getSnapshot()).toMatchObject({ status: "ready", complete: true }),
      PATIENT,
    );
    await vi.waitFor(() => expect(states(client)).toEqual({ a: "running ?" }), PATIENT);
    expect(client.operations.getSnapshot().error).toBeUndefined();
  } finally {
    client.close();
    await hub.stop();
  }
}, 60_000);

/** Clients in a world in which nothing happens by itself. */
import type { HubClient } from "../src/client.ts";
import type { WatchItem } from "../src/items.ts";
import type { FakeWorld } from "./fakes.ts";

/** A client that watches `data` and is live. */
export async function live(world: FakeWorld, hub: HubClient = world.connect()): Promise<WatchItem[]> {
  const items: WatchItem[] = [];
  hub.watch("data", (item) => items.push(item));
  await world.settle();
  world.socket.open();
  world.socket.greet();
  await world.settle();
  world.socket.goLive();
  return items;
}

/** The state of a client and its reason, in a few words. */
export function state(hub: HubClient): string {
  const { reason, state } = hub.connection.getSnapshot();
  return `${state}: ${reason.code}`;
}

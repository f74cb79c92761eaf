import { connect, type ConnectOptions, type Operation, TidingsError } from "tidings";
import { TidingsElements } from "tidings/elements.js";
import { HubProvider, useConnection, useEvents, useOperation, useOperations } from "tidings/react";

const options: ConnectOptions = { token: async () => null };
const hub = connect("ws://127.0.0.1:8765/ws", options);

export async function follow(): Promise<void> {
  for await (const item of hub.watch("operations")) {
    if (item.type === "operation:progress") console.log(item.data.progress.toFixed(1), item.position);
    else if (item.type === "channel:gap") console.log(item.data.after);
    // @ts-expect-error: progress has no such field.
    if (item.type === "operation:progress") console.log(item.data.percent);
  }
  await hub.publish("data:update", { dataset: "prices" }).catch((error) => {
    if (error instanceof TidingsError) console.log(error.code, error.hint);
  });
}

export function Page() {
  const first: Operation | undefined = useOperations().operations[0];
  const one = useOperation("a");
  const { events } = useEvents("data", { limit: 5 });
  return (
    <HubProvider url="/hub/">
      {first?.progress} {one === null ? "unknown" : one?.state} {events.length} {useConnection().state}
    </HubProvider>
  );
}

TidingsElements.connect({ url: hub.url }).close();

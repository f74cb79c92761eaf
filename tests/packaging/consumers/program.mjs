// What an application does with the package: prints the ids of the operations of the hub at the given URL, and ends.
import { connect, isLive } from "tidings";
import "tidings/elements.js";

/** Prints the operations of a hub. */
export function main(url, print = console.log) {
  const hub = connect(url);
  return new Promise((resolve) => {
    hub.operations.subscribe(() => {
      const { status, operations } = hub.operations.getSnapshot();
      if (status !== "ready") return;
      print(operations.map((one) => `${one.name} ${isLive(one)}`).join());
      hub.close();
      resolve();
    });
  });
}

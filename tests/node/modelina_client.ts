// A client from modelina: a model encodes an event that goes over a WebSocket, and another decodes what comes back.
import { OperationProgressData } from "./models/OperationProgressData.js";
import { OperationProgressEvent } from "./models/OperationProgressEvent.js";
import { EventAcceptedMessage } from "./models/EventAcceptedMessage.js";

export async function run(hub: string): Promise<unknown> {
  const socket = new WebSocket(`${hub}?channel=operations&since=now`, "tidings.v1");
  const data = new OperationProgressData({ operationId: "from-modelina", progress: 45.5 });
  const event = new OperationProgressEvent({
    timestamp: new Date().toISOString(),
    data,
    id: "1",
  });
  const found: { position?: string; progress?: number } = {};
  await new Promise<void>((resolve, reject) => {
    socket.onerror = () => reject(new Error("the connection broke"));
    socket.onmessage = ({ data: text }) => {
      const { type } = JSON.parse(String(text)) as { type: string };
      if (type === "channel:live") socket.send(event.marshal());
      if (type === "event:accepted") found.position = EventAcceptedMessage.unmarshal(String(text)).data.position;
      if (type === "operation:progress") found.progress = OperationProgressEvent.unmarshal(String(text)).data.progress;
      if (type === "connection:error") reject(new Error(String(text)));
      if (found.position !== undefined && found.progress !== undefined) resolve();
    };
  });
  socket.close();
  return found;
}

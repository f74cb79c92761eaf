// An application of the exported types: this compiles, and the marked lines do not.
import {
  ChannelType,
  InvalidEvent,
  MessageType,
  isOperationProgress,
  isTradeExecuted,
  parseEvent,
  parseMessage,
  type OperationProgressData,
  type PayloadOf,
  type TidingsEvent,
} from "./tidings.js";

export function describe(event: TidingsEvent): string {
  switch (event.type) {
    case MessageType.OPERATION_PROGRESS:
      return `${event.data.operation_id}: ${event.data.progress.toFixed(1)} % ${event.data.message ?? ""}`;
    case "operation:failed":
      // @ts-expect-error: an operation that failed has no progress
      return event.data.progress;
    case MessageType.TRADE_EXECUTED:
      // @ts-expect-error: a trade is bought or sold
      return event.data.side === "held" ? "held" : event.data.side.toUpperCase();
    case "data:update":
      // @ts-expect-error: every field is optional, so data may be null
      return event.data.dataset;
    default:
      return event.channel ?? ChannelType.GLOBAL;
  }
}

export function progress(value: unknown): number {
  // @ts-expect-error: its type is not known yet
  value.data;
  return isOperationProgress(value) ? value.data.progress : isTradeExecuted(value) ? value.data.price : 0;
}

export const data: PayloadOf<"operation:progress"> = { operation_id: "o", progress: 5 } satisfies OperationProgressData;
// @ts-expect-error: there is no such event
export type None = PayloadOf<"operation:finish">;
// @ts-expect-error: progress is a number
export const wrong: OperationProgressData = { operation_id: "o", progress: "5" };

export function read(text: string): string {
  try {
    return describe(parseEvent(text));
  } catch (error) {
    return error instanceof InvalidEvent ? error.message : parseMessage(text).type;
  }
}

// An application of the exported types: this compiles, and the marked lines do not.
import {
  ChannelType,
  InvalidEvent,
  MessageType,
  isOperationProgress,
  isTradeExecuted,
  parseEvent,
  parseMessage,
  type Command,
  type InputOf,
  type OperationProgressData,
  type PayloadOf,
  type Publication,
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

export const data: InputOf<"operation:progress"> = { operation_id: "o", progress: 5 };
export const event: Publication = { type: "operation:progress", data };
// @ts-expect-error: the hub writes every field that is always written, so a reader finds it
export const missing: PayloadOf<"operation:progress"> = { operation_id: "o", progress: 5 };
export const command: Command = { type: "channel:subscribe", id: "1", data: { channels: ["operations"] } };
// @ts-expect-error: a command needs an id
export const nameless: Command = { type: "channel:subscribe", data: { channels: ["operations"] } };
// @ts-expect-error: there is no such event
export type None = PayloadOf<"operation:finish">;
// @ts-expect-error: progress is a number
export const wrong: InputOf<"operation:progress"> = { operation_id: "o", progress: "5" };

export function steps({ current_step, total_steps }: OperationProgressData): string {
  return `${current_step.trim()} of ${total_steps.toFixed()}`;
}

export function read(text: string): string {
  try {
    return describe(parseEvent(text));
  } catch (error) {
    return error instanceof InvalidEvent ? error.message : parseMessage(text).type;
  }
}

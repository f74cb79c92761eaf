// A whole client from nothing but the export: a producer that loses its connection and resumes, and a watcher that cancels.
import {
  CancelAnswerVerdict,
  CommandType,
  ErrorCode,
  HubMessageType,
  MessageType,
  SUBPROTOCOL,
  SubscribedOutcome,
  parseMessage,
  shouldReconnect,
  type Command,
  type Commands,
  type HubMessage,
  type Publication,
  type Replies,
  type ReplyOf,
  type TidingsEvent,
} from "./tidings.js";

type Received = TidingsEvent | HubMessage;
const OPERATION = "from-typescript";

class Session {
  private readonly received: Received[] = [];
  private wake: () => void = () => {};
  private sent = 0;
  private readonly socket: WebSocket;

  constructor(hub: string) {
    this.socket = new WebSocket(`${hub}?channels=none`, SUBPROTOCOL);
    this.socket.onmessage = ({ data }) => {
      const message = parseMessage(String(data));
      if (message.type === "unknown") return;
      this.received.push(message);
      this.wake();
    };
  }

  nextId(): string {
    this.sent += 1;
    return String(this.sent);
  }

  send(message: Command | Publication): void {
    this.socket.send(JSON.stringify(message));
  }

  async find<T extends Received>(fits: (message: Received) => message is T): Promise<T> {
    for (;;) {
      const index = this.received.findIndex(fits);
      const [message] = index < 0 ? [] : this.received.splice(index, 1);
      if (message !== undefined && fits(message)) return message;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  next<T extends Received["type"]>(type: T): Promise<Extract<Received, { type: T }>> {
    return this.find((message): message is Extract<Received, { type: T }> => message.type === type);
  }

  async call<T extends keyof Replies>(
    command: Commands[T] & { type: T },
    reply: ReplyOf<T>["type"],
  ): Promise<ReplyOf<T>> {
    const { id }: { id: string } = command;
    this.send(command);
    const found = await this.find((message): message is Received => message.reply_to === id);
    if (found.type !== reply) throw new Error(JSON.stringify(found));
    return found as ReplyOf<T>;
  }

  async publish(event: Publication): Promise<string> {
    const id = this.nextId();
    this.send({ ...event, id });
    const found = await this.find((message): message is Received => message.reply_to === id);
    if (found.type === HubMessageType.EVENT_ACCEPTED) return found.data.position;
    throw new Error(JSON.stringify(found));
  }

  close(): void {
    this.socket.close();
  }
}

async function open(hub: string, token: string): Promise<Session> {
  const session = new Session(hub);
  const { data: established } = await session.next(MessageType.CONNECTION_ESTABLISHED);
  if (established.auth !== "required") return session;
  await session.next(MessageType.AUTH_REQUIRED);
  session.send({ type: CommandType.AUTH_TOKEN, id: session.nextId(), data: { token } });
  await session.next(MessageType.AUTH_SUCCESS);
  return session;
}

function attach(session: Session, attempts: readonly number[]): Promise<ReplyOf<"producer:attach">> {
  const operations = attempts.map((attempt) => ({ operation_id: OPERATION, attempt }));
  const data = { producer_id: "ts-1", operations };
  return session.call({ type: CommandType.PRODUCER_ATTACH, id: session.nextId(), data }, "producer:attached");
}

function subscribe(session: Session, path: string, since: string): Promise<ReplyOf<"channel:subscribe">> {
  const data = { channels: [path], since };
  return session.call({ type: CommandType.CHANNEL_SUBSCRIBE, id: session.nextId(), data }, "channel:subscribed");
}

export async function run(hub: string, token: string): Promise<unknown> {
  const first = await open(hub, token);
  await attach(first, []);
  const { data: subscribed } = await subscribe(first, "operations", "now");
  await first.publish({ type: MessageType.OPERATION_START, data: { operation_id: OPERATION } });
  const { position } = await first.next(MessageType.OPERATION_START);
  first.send({ type: MessageType.OPERATION_PROGRESS, data: { operation_id: OPERATION, progress: 101 } });
  const { data: refused } = await first.next(HubMessageType.CONNECTION_ERROR);
  first.close();

  const producer = await open(hub, token);
  const { data: attached } = await attach(producer, [1]);
  await producer.publish({ type: MessageType.OPERATION_PROGRESS, data: { operation_id: OPERATION, progress: 45.5 } });
  const { data: resumed } = await subscribe(producer, `operations/${OPERATION}`, position ?? "");
  const { data: progress } = await producer.next(MessageType.OPERATION_PROGRESS);

  const watcher = await open(hub, token);
  const data = { operation_id: OPERATION, reason: "not needed" };
  const ended = watcher.call({ type: CommandType.OPERATION_CANCEL, id: watcher.nextId(), data }, "operation:cancel_outcome");
  const push = await producer.next(HubMessageType.OPERATION_CANCEL);
  const answer = { verdict: CancelAnswerVerdict.STOPPING };
  producer.send({ type: CommandType.OPERATION_CANCEL_ANSWER, reply_to: push.id ?? "", data: answer });
  const reason = push.data.reason ?? "";
  await producer.publish({ type: MessageType.OPERATION_CANCELLED, data: { operation_id: OPERATION, reason } });
  const { data: outcome } = await ended;
  producer.close();
  watcher.close();
  return {
    outcome: subscribed.outcome satisfies SubscribedOutcome,
    resumed: resumed.outcome,
    progress: progress.progress,
    verdict: attached.operations[0]?.verdict,
    reason,
    ended: outcome.outcome,
    refused: refused.code satisfies string as ErrorCode,
    final: Array.from({ length: 3200 }, (_, index) => 1000 + index).filter((code) => !shouldReconnect(code)),
  };
}

/** A TCP proxy that misbehaves like a network: it cuts connections, in the middle of a frame as a rule, or refuses them. */
import { createServer, connect as dial, type Server, type Socket } from "node:net";

export class TcpProxy {
  /** Connections that were accepted. */
  accepted = 0;
  /** Connections that were cut. */
  cuts = 0;
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;
  #left = Number.POSITIVE_INFINITY;
  #next: () => number;

  /** @param next - How many bytes of the hub pass until the next cut; asked again after each. */
  private constructor(target: number, next: () => number) {
    this.#next = next;
    this.#left = next();
    this.#server = createServer((client) => {
      this.accepted += 1;
      const hub = dial(target, "127.0.0.1");
      for (const socket of [client, hub]) {
        this.#sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => {
          this.#sockets.delete(socket);
          client.destroy();
          hub.destroy();
        });
      }
      client.on("data", (data) => hub.write(data));
      hub.on("data", (data) => this.#forward(data, client));
    });
  }

  static async start(target: number, next: () => number = () => Number.POSITIVE_INFINITY): Promise<TcpProxy> {
    const proxy = new TcpProxy(target, next);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  #forward(data: Buffer, client: Socket): void {
    client.write(data.subarray(0, this.#left));
    this.#left -= data.length;
    if (this.#left <= 0) this.cut();
  }

  /** Drop all connections. */
  cut(): void {
    this.cuts += 1;
    this.#left = this.#next();
    for (const socket of [...this.#sockets]) socket.destroy();
  }

  /** Cut no more. */
  calm(): void {
    this.#next = () => Number.POSITIVE_INFINITY;
    this.#left = Number.POSITIVE_INFINITY;
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of [...this.#sockets]) socket.destroy();
    await closed;
  }
}

/** Return numbers from 0 up to, not including, 1: the same ones for a seed. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

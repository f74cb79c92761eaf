/** A TCP connection between browser and hub that tests can cut, silence and restore. */
import { connect, createServer, type Server, type Socket } from "node:net";

/** The head of a request for a WebSocket. */
const UPGRADE = /^GET [\s\S]*\r\nupgrade: *websocket\r\n/i;

export class Wire {
  readonly port: number;
  readonly #server: Server;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #isSilent = false;
  #isRefusing = false;
  /** Whether requests for WebSockets are refused, as proxies do that do not know them. */
  blocksUpgrades = false;

  private constructor(server: Server, port: number, target: number) {
    this.#server = server;
    this.port = port;
    server.on("connection", (browser) => {
      if (this.#isRefusing) {
        browser.resetAndDestroy();
        return;
      }
      this.#join(browser, connect(target, "127.0.0.1"));
    });
  }

  static async to(target: number): Promise<Wire> {
    const server = createServer({ pauseOnConnect: false });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    return new Wire(server, address.port, target);
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/`;
  }

  /** The number of open connections from the browser. */
  get connections(): number {
    return this.#pairs.size;
  }

  /** Reset all connections, and refuse new ones until `restore`. */
  cut(): void {
    this.#isRefusing = true;
    for (const pair of this.#pairs) for (const socket of pair) socket.resetAndDestroy();
  }

  /** Let no byte through in either direction, without closing anything, as a lost mobile network does. */
  silence(): void {
    this.#isSilent = true;
    for (const pair of this.#pairs) for (const socket of pair) socket.pause();
  }

  restore(): void {
    this.#isSilent = this.#isRefusing = false;
    for (const pair of this.#pairs) for (const socket of pair) socket.resume();
  }

  close(): void {
    this.cut();
    this.#server.close();
  }

  #join(browser: Socket, hub: Socket): void {
    const pair = [browser, hub] as const;
    this.#pairs.add(pair);
    for (const [from, to] of [pair, [hub, browser] as const]) {
      from.on("data", (data) => {
        if (this.blocksUpgrades && from === browser && UPGRADE.test(data.toString("latin1"))) from.resetAndDestroy();
        else to.write(data);
      });
      from.on("error", () => undefined); // `close` follows
      from.on("close", () => {
        this.#pairs.delete(pair);
        if (!this.#isSilent) to.destroy();
      });
      if (this.#isSilent) from.pause();
    }
  }
}

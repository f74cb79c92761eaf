/** A web server of another origin than the hub's, for pages that embed or use a hub. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";

/** The body of each path; `text/javascript` for those that end with `.js`, else HTML. */
export type SiteFiles = Readonly<Record<string, string>>;

export class Site {
  readonly url: string;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  }

  /** Serve files on a free port, with headers of your own. */
  static async start(files: SiteFiles, headers: Readonly<Record<string, string>> = {}): Promise<Site> {
    const server = createServer(({ url = "" }, response) => {
      const body = files[new URL(url, "http://site").pathname];
      const type = url.endsWith(".js") ? "text/javascript" : "text/html";
      response.writeHead(body === undefined ? 204 : 200, { "Content-Type": `${type}; charset=utf-8`, ...headers });
      response.end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new Site(server);
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

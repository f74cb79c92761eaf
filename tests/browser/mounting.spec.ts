import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Page } from "@playwright/test";
import { NGINX, needs, PYTHON } from "./executables.ts";
import { expect, test } from "./fixtures.ts";
import { listening } from "./other_browsers.ts";
import { freePort, type Hub, type Job, Process } from "./processes.ts";
import { hasProgress, isLive, row } from "./views.ts";

/** Walk through all pages below an address, and see a job that reports to the hub. */
async function walk(page: Page, url: string, job: Job): Promise<void> {
  await page.goto(url);
  await isLive(page);
  job.progress(40);
  await hasProgress(row(page, "Import prices"), 40);
  await row(page, "Import prices").getByRole("link", { name: "Import prices" }).click();
  await expect(page.getByRole("heading", { name: "Import prices" })).toBeVisible();
  job.progress(50);
  await hasProgress(page, 50);
  await page.reload();
  await isLive(page);
  await hasProgress(page, 50);
  for (const name of ["Names", "Events", "System", "Operations"]) {
    await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name }).click();
    expect(page.url().startsWith(url)).toBe(true);
    await expect(page.locator("main")).not.toBeEmpty();
  }
  job.progress(60);
  await hasProgress(row(page, "Import prices"), 60);
}

interface Proxy {
  readonly title: string;
  readonly tls: boolean;
  readonly prefix: string;
  /** Whether the proxy removes the prefix. */
  readonly strips: boolean;
  /** Whether WebSockets get through. */
  readonly upgrades?: false;
}

const PROXIES: readonly Proxy[] = [
  { title: "at the root, http", tls: false, prefix: "/", strips: false },
  { title: "at the root, https outside and http inside", tls: true, prefix: "/", strips: false },
  { title: "below a prefix that is removed, http", tls: false, prefix: "/ops/tidings/", strips: true },
  { title: "below a prefix that is removed, https", tls: true, prefix: "/ops/tidings/", strips: true },
  { title: "below a prefix that is kept, http", tls: false, prefix: "/ops/tidings/", strips: false },
  {
    title: "where no WebSocket gets through, with nginx's own buffers",
    tls: false,
    prefix: "/",
    strips: false,
    upgrades: false,
  },
  { title: "below a prefix that is kept, https", tls: true, prefix: "/ops/tidings/", strips: false },
];

function nginxConfig(folder: string, port: number, hub: Hub, { tls, prefix, strips, upgrades }: Proxy): string {
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `${name}_temp_path ${folder}/${name};`,
  );
  const certificate = tls ? `ssl_certificate ${folder}/cert.pem; ssl_certificate_key ${folder}/key.pem;` : "";
  return `${process.geteuid?.() === 0 ? "user root;" : ""} daemon off; pid ${folder}/pid; error_log stderr; worker_processes 1;
events { worker_connections 64; }
http { access_log off; ${paths.join(" ")}
  map $http_upgrade $connection_upgrade { default upgrade; '' close; }
  server {
    listen 127.0.0.1:${port}${tls ? " ssl" : ""};
    ${certificate}
    location ${prefix} {
      proxy_pass http://127.0.0.1:${hub.port}${strips ? "/" : ""};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Forwarded "";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-Prefix "${strips ? prefix.slice(0, -1) : ""}";
      proxy_set_header Upgrade ${upgrades === false ? '""' : "$http_upgrade"};
      proxy_set_header Connection ${upgrades === false ? '""' : "$connection_upgrade"};
      ${upgrades === false ? "" : "proxy_buffering off;"}
    }
  }
}
`;
}

test.describe("behind nginx", () => {
  test.use({ ignoreHTTPSErrors: true });

  for (const proxy of PROXIES) {
    test(proxy.title, async ({ page, faults, start, folder }) => {
      needs(NGINX);
      if (proxy.upgrades === false) faults.expect(/WebSocket connection to/);
      const keepsPrefix = proxy.prefix !== "/" && !proxy.strips;
      const options = [
        "--trusted-proxy",
        "127.0.0.1",
        ...(keepsPrefix ? ["--root-path", proxy.prefix.slice(0, -1)] : []),
      ];
      const hub = await start.hub({ options });
      const job = await start.job(hub, "Import prices");
      const port = await freePort();
      if (proxy.tls) {
        const files = ["-keyout", `${folder}/key.pem`, "-out", `${folder}/cert.pem`];
        const request = [
          "req",
          "-x509",
          "-newkey",
          "ec",
          "-pkeyopt",
          "ec_paramgen_curve:P-256",
          "-nodes",
          "-days",
          "2",
        ];
        execFileSync("openssl", [...request, ...files, "-subj", "/CN=localhost"], { stdio: "ignore" });
      }
      for (const name of ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]) mkdirSync(`${folder}/${name}`);
      writeFileSync(`${folder}/nginx.conf`, nginxConfig(folder, port, hub, proxy));
      start.process(new Process(NGINX, ["-p", folder, "-c", `${folder}/nginx.conf`], { endSignal: "SIGTERM" }));
      await listening(port);
      await walk(page, `http${proxy.tls ? "s" : ""}://127.0.0.1:${port}${proxy.prefix}`, job);
    });
  }
});

test("mounted in FastAPI", async ({ page, start, folder }) => {
  const port = await freePort();
  const script = fileURLToPath(new URL("mounted.py", import.meta.url));
  start.process(new Process(PYTHON, [script, String(port)], { env: { XDG_DATA_HOME: folder } }));
  await listening(port);
  const url = `http://127.0.0.1:${port}/ops/tidings/`;
  await walk(page, url, await start.job({ url } as Hub, "Import prices"));
});

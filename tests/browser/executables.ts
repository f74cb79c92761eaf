/** The programs that the tests run: those of the virtualenv, and those of the system. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "@playwright/test";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
export const PYTHON = `${ROOT}.venv/bin/python`;
export const TIDINGS = `${ROOT}.venv/bin/tidings`;
export const CHROMIUM = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
export const FIREFOX = process.env["FIREFOX"] ?? "/usr/bin/firefox-esr";
export const WEBKIT_DRIVER = process.env["WEBKIT_DRIVER"] ?? "/usr/bin/WebKitWebDriver";
export const XVFB = process.env["XVFB"] ?? "/usr/bin/Xvfb";
export const NGINX = process.env["NGINX"] ?? "/usr/sbin/nginx";

const PACKAGES = new Map([
  [CHROMIUM, "chromium"],
  [FIREFOX, "firefox-esr"],
  [WEBKIT_DRIVER, "webkit2gtk-driver"],
  [XVFB, "xvfb"],
  [NGINX, "nginx-light"],
]);

/** Skip a test whose program is not installed, and name Debian's package; never in CI. */
export function needs(...programs: readonly string[]): void {
  for (const program of programs) {
    const reason = `${program} is not installed: apt-get install ${PACKAGES.get(program) ?? program}`;
    if (existsSync(program)) continue;
    if (process.env["CI"]) throw new Error(reason);
    test.skip(true, reason);
  }
}

/** What stands above each report: the machine and the versions. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism, loadavg, release, totalmem } from "node:os";
import { CHROMIUM, PYTHON, ROOT, TIDINGS } from "../../tests/browser/executables.ts";

function said(command: string, ...arguments_: readonly string[]): string {
  return execFileSync(command, arguments_, { encoding: "utf8", cwd: ROOT, stdio: ["ignore", "pipe", "ignore"] }).trim();
}

/** Lines about this machine and what is measured on it. */
export function machine(): string {
  const model = /^model name\s*: (.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1] ?? "unknown processor";
  return [
    `${availableParallelism()} × ${model}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, Linux ${release()}`,
    `${said(CHROMIUM, "--version")}, Node ${process.version}, ${said(PYTHON, "--version")}`,
    `${said(TIDINGS, "--version")}, commit ${said("git", "describe", "--always", "--dirty")}`,
    `load before: ${loadavg()
      .map((load) => load.toFixed(1))
      .join(" ")}`,
  ].join("\n");
}

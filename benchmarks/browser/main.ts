/**
 * Benchmarks of the dashboard, in Debian's Chromium with a real hub. Run by hand, on a machine that does nothing else:
 *
 *     make bench-browser                     # load, paint and fan-out
 *     node benchmarks/browser/main.ts load   # one of load, paint, fanout, memory, pages
 *     node benchmarks/browser/main.ts memory --minutes 30
 */
import { parseArgs } from "node:util";
import { fanout } from "./fanout.ts";
import { load } from "./load.ts";
import { machine } from "./machine.ts";
import { memory, pages } from "./memory.ts";
import { paint } from "./paint.ts";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: "string", default: "30" },
    seconds: { type: "string", default: "20" },
    rounds: { type: "string", default: "3" },
    switches: { type: "string", default: "1000" },
  },
});
const [minutes, seconds, rounds, switches] = [values.minutes, values.seconds, values.rounds, values.switches].map(
  Number,
) as [number, number, number, number];
const benchmarks: Readonly<Record<string, () => Promise<boolean>>> = {
  load: async () => await load(seconds),
  paint: async () => await paint(rounds),
  fanout: async () => await fanout(seconds, rounds),
  memory: async () => await memory(minutes),
  pages: async () => await pages(switches),
};

console.log(`${machine()}\n`);
for (const name of positionals.length === 0 ? ["load", "paint", "fanout", "pages"] : positionals) {
  const run = benchmarks[name];
  if (run === undefined) throw new Error(`no such benchmark: ${name}`);
  console.log(`== ${name}`);
  if (!(await run())) process.exitCode = 1;
}
process.exit();

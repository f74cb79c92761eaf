/**
 * Benchmarks of the dashboard, in Debian's Chromium with a real hub. Run by hand, on a machine that does nothing else:
 *
 *     make bench-browser                     # all but memory, attacks and payloads
 *     node benchmarks/browser/main.ts load   # one of load, paint, fanout, ended, pages, memory, attacks, payloads
 *     node benchmarks/browser/main.ts load --page events --profile
 *     node benchmarks/browser/main.ts memory --hours 8 --minutes 30
 */
import { parseArgs } from "node:util";
import { attacks, payloads } from "./attacks.ts";
import { ended } from "./ended.ts";
import { fanout } from "./fanout.ts";
import { load } from "./load.ts";
import { machine } from "./machine.ts";
import { memory, pages } from "./memory.ts";
import { paint } from "./paint.ts";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    hours: { type: "string", default: "8" },
    minutes: { type: "string", default: "30" },
    seconds: { type: "string", default: "20" },
    rate: { type: "string", default: "10000" },
    page: { type: "string", multiple: true, default: [] },
    profile: { type: "boolean", default: false },
    rounds: { type: "string", default: "3" },
    switches: { type: "string", default: "1000" },
  },
});
const hours = Number(values.hours);
const minutes = Number(values.minutes);
const seconds = Number(values.seconds);
const rounds = Number(values.rounds);
const switches = Number(values.switches);
const benchmarks: Readonly<Record<string, () => Promise<boolean>>> = {
  load: async () => await load({ seconds, rate: Number(values.rate), isProfiled: values.profile, only: values.page }),
  paint: async () => await paint(rounds),
  fanout: async () => await fanout(seconds, rounds),
  attacks: async () => await attacks(seconds),
  payloads: async () => await payloads(seconds),
  ended: async () => await ended(seconds),
  memory: async () => await memory(minutes, hours),
  pages: async () => await pages(switches),
};

console.log(`${machine()}\n`);
for (const name of positionals.length === 0 ? ["load", "paint", "fanout", "ended", "pages"] : positionals) {
  const run = benchmarks[name];
  if (run === undefined) throw new Error(`no such benchmark: ${name}`);
  console.log(`== ${name}`);
  if (!(await run())) process.exitCode = 1;
}
process.exit();

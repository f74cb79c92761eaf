// Reads messages (a JSON array of texts on stdin) with the exported module in the argument, and writes the results.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const contract = await import(pathToFileURL(process.argv[2]).href);
const texts = JSON.parse(readFileSync(0, "utf8"));
const guards = Object.entries(contract).filter(([name]) => /^is[A-Z]/.test(name));

function parsed(parse, text) {
  try {
    const { type, message } = parse(text);
    return message === undefined ? { type } : { type, message };
  } catch (error) {
    if (!(error instanceof contract.InvalidEvent)) throw error;
    return { fault: error.message };
  }
}

function guarded(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return [];
  }
  return guards.filter(([, guard]) => guard(value)).map(([name]) => name);
}

const found = texts.map((text) => ({
  event: parsed(contract.parseEvent, text),
  message: parsed(contract.parseMessage, text),
  guards: guarded(text),
}));
process.stdout.write(JSON.stringify(found));

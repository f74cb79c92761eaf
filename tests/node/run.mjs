// Runs the function `run` of a compiled module with the further arguments, and writes its result as JSON.
import { pathToFileURL } from "node:url";

const [module, ...rest] = process.argv.slice(2);
const { run } = await import(pathToFileURL(module).href);
process.stdout.write(JSON.stringify(await run(...rest)));

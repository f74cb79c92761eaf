import { main } from "./program.mjs";

await main(process.argv[2]);

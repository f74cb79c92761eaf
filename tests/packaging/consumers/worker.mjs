import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { main } from "./program.mjs";

if (isMainThread) new Worker(new URL(import.meta.url), { workerData: process.argv[2] }).on("message", console.log);
else await main(workerData, (text) => parentPort.postMessage(text));

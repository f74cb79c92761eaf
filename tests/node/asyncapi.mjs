// Reads AsyncAPI documents (the files in the arguments) with AsyncAPI's own parser, and writes its findings as JSON.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const parser = new Parser();
const found = [];
for (const file of process.argv.slice(2)) {
  const { document, diagnostics } = await parser.parse(readFileSync(file, "utf8"), { source: file });
  found.push({
    version: document?.version() ?? null,
    messages: document?.allMessages().all().map((message) => message.name()) ?? [],
    operations: document?.allOperations().all().map((operation) => operation.id()) ?? [],
    faults: diagnostics.map(({ severity, code, message, path }) => ({ severity, code, message, path: path.join(".") })),
  });
}
process.stdout.write(JSON.stringify(found));

// Generates TypeScript models of an AsyncAPI document with AsyncAPI's modelina: modelina.mjs DOCUMENT FOLDER.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TS_COMMON_PRESET, TypeScriptGenerator } from "@asyncapi/modelina";

const [file, folder] = process.argv.slice(2);
const generator = new TypeScriptGenerator({
  modelType: "class",
  enumType: "union",
  mapType: "map",
  presets: [{ preset: TS_COMMON_PRESET, options: { marshalling: true } }],
});
const options = { moduleSystem: "ESM", exportType: "named" };
const models = await generator.generateCompleteModels(JSON.parse(readFileSync(file, "utf8")), options);
mkdirSync(folder, { recursive: true });
for (const { modelName, result } of models) writeFileSync(join(folder, `${modelName}.ts`), result);
process.stdout.write(JSON.stringify(models.map(({ modelName }) => modelName)));

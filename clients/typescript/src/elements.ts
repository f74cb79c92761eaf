/**
 * The elements `<tidings-operation operation-id="…">` and `<tidings-operations name="…" state="…">`. Importing this
 * module defines them.
 */

import { defineElements } from "./elements/define.ts";

export { TidingsElements } from "./elements/define.ts";
export type { ElementsOptions } from "./elements/registry.ts";

defineElements();

/** The elements as a hub serves them, in one file: they belong to that hub, unless the page says otherwise. */

import { defineElements } from "./define.ts";
import { findRegistry } from "./registry.ts";

export { TidingsElements } from "./define.ts";

const { url } = import.meta; // written with `new URL`, a bundler would take it for a file to bundle
findRegistry().servedBy ??= new URL(".", url).href;
defineElements();

/** The pages in the second file. */

export { EventsPage } from "./events/page.tsx";
export { TracePage } from "./events/trace-page.tsx";
export { LogPage } from "./log/page.tsx";
export { NamePage } from "./names/name-page.tsx";
export { NamesPage } from "./names/page.tsx";
export { OperationPage } from "./operation/page.tsx";
export { SystemPage } from "./system/page.tsx";
export { WallPage } from "./wall/page.tsx";

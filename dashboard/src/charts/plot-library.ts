/** uPlot, loaded with the first chart. */

import { LaterPart } from "../later-part.ts";

export const plotLibrary = new LaterPart(async () => (await import("uplot")).default);

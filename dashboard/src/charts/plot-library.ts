/** uPlot, loaded with the first chart: the list of operations needs none, and should be there sooner. */

import { type ReadonlySignal, signal } from "@preact/signals";
import type UPlot from "uplot";

type Library = typeof UPlot;

const library = signal<Library | undefined>(undefined);
const isMissing = signal(false);
let isLoading = false;

/** The library; undefined until it is loaded. */
export const plotLibrary: ReadonlySignal<Library | undefined> = library;

/** Whether it could not be loaded: the hub was upgraded, and has only that of newer pages. */
export const isPlotLibraryMissing: ReadonlySignal<boolean> = isMissing;

/** Load the library, unless it is there or on its way. */
export async function loadPlotLibrary(): Promise<void> {
  if (isLoading || library.peek() !== undefined) return;
  isLoading = true;
  try {
    library.value = (await import("uplot")).default;
    isMissing.value = false;
  } catch {
    isMissing.value = true;
  }
  isLoading = false;
}

/**
 * Leaves out of uPlot what the charts do not use: a quarter of it, 6 KB gzipped.
 *
 * uPlot is one function, so a bundler cannot tell what is unused. Our charts have no legend and no axis of dates, their
 * lines are straight, and nothing is dragged. An update of uPlot in which one of these functions is missing fails the
 * build, and a test in Chromium compares what is drawn with what the whole library draws.
 */
import type { Plugin } from "vite";

/** What an unused function does instead, by its name. */
const UNUSED: Readonly<Record<string, string>> = {
  // other forms of lines
  bars: "",
  stepped: "",
  splineInterp: "",
  _monotoneCubic: "",
  points: "",
  addBand: "",
  delBand: "",
  // other scales than a linear one
  rangeLog: "",
  rangeAsinh: "",
  logAxisSplits: "",
  log10AxisValsFilt: "",
  log2AxisValsFilt: "",
  asinhAxisSplits: "",
  // times, whose functions are made for each chart
  fmtDate: "",
  tzDate: "",
  timeAxisVals: "",
  timeAxisStamps: "",
  timeSeriesVal: "",
  timeSeriesStamp: "",
  genTimeStuffs: "return [[], [], () => {}];",
  // the legend
  initLegendRow: "",
  setLegend: "",
  // dragging, and series that come and go
  mouseDown: "",
  mouseUp: "",
  dblClick: "",
  addSeries: "",
  delSeries: "",
  setFocus: "",
  // joining tables
  join: "",
};

export const chartLibrary: Plugin = {
  name: "chart-library",
  transform: (code, id) => (/\buplot\b.*\.esm\.js$/.test(id) ? { code: withoutUnused(code), map: null } : null),
};

/** Return the code of uPlot without the functions that are not used. */
export function withoutUnused(code: string): string {
  return Object.entries(UNUSED).reduce((rest, [name, body]) => {
    // From the head of the function to the brace below it.
    const whole = new RegExp(`^(\\t*)function ${name}\\(.*\\{\\n[\\s\\S]*?\\n\\1\\}`, "m");
    if (!whole.test(rest)) throw new Error(`uPlot has no function ${name}: compare dashboard/chart-library.ts with it`);
    return rest.replace(whole, () => `function ${name}() { ${body} }`);
  }, code);
}

/**
 * Leaves out of two libraries what the dashboard does not use: more than half of uPlot and a part of the virtual list, 13 KB
 * gzipped.
 *
 * Each is one function or one class, so a bundler cannot tell what is unused. Our charts have no legend and no axis of
 * dates, their lines are straight, time runs to the right, and nothing is dragged. Our lists are
 * vertical, have one column and scroll at once. An update in which one of these functions or conditions is missing fails the build,
 * and a test in Chromium compares what uPlot draws with what the whole library draws.
 */
import type { Plugin } from "vite";

/** What an unused function of uPlot does instead, by its name. */
const UNUSED: Readonly<Record<string, string>> = {
  // other forms of lines, and points on them
  bars: "",
  stepped: "",
  splineInterp: "",
  _monotoneCubic: "",
  points: "",
  seriesPointsShow: "",
  addBand: "",
  setBand: "",
  delBand: "",
  rect: "return (p, x, y, w, h) => { p.rect(x, y, w, h); };", // without round corners
  // other scales than a linear one
  rangeLog: "",
  rangeAsinh: "",
  logAxisSplits: "",
  log10AxisValsFilt: "",
  log2AxisValsFilt: "",
  asinhAxisSplits: "",
  autoPadSide: "",
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
  syncLegend: "",
  setLegendValues: "",
  // dragging, and series that come and go
  mouseDown: "",
  mouseUp: "",
  dblClick: "",
  setSelect: "",
  addSeries: "",
  delSeries: "",
  setSeries: "",
  setFocus: "",
  setAlpha: "",
  toggleDOM: "",
  // joining tables, plots that follow each other, changes in one go
  join: "",
  _sync: "return { sub() {}, unsub() {} };",
  pubSync: "",
  pub: "",
  batch: "",
  flushHooks: "",
};

type Replacement = readonly [code: RegExp, value: string];

/** What is always so in our charts: expressions and statements, and what they come to. */
const CHART: readonly Replacement[] = [
  // one table of columns, on linear scales from left to right and from below, none of which depends on another
  [/\bmode == 1/g, "true"],
  [/\bmode == 2/g, "false"],
  [/\b(xScaleD|sc\.d|scale\.d|wsc\.d|d)istr (== +(2|3|4|100)|>= 3)(?=\D)/g, "false"],
  [/\b(scaleX|sx)\.ori == 0/g, "true"],
  [/\b(scaleX|sc)\.ori == 1/g, "false"],
  [/const dir = scaleX\.dir .*;/g, "const dir = 1;"],
  [/(?<![.\w])dir == 1/g, "true"],
  [/^\t+(moveTo|lineTo|rect|arc|bezierCurveTo)[HV],\n/gm, ""],
  [/log \? positiveIdxs : nonNullIdxs/, "nonNullIdxs"],
  [/log \? isPositive : notNullish/, "notNullish"],
  [/if \(scaleKey != xScaleKey \|\| .*\{/, "if (false) {"],
  [/\b(scale|sc)\.dir == -1/g, "false"],
  [/\b(scaleOpts|w?sc)\.from != null/g, "false"],
  [/\bw?sc\.from == null/g, "true"],
  [/const rect = ori == 0 \? rectH : rectV;/, "const rect = rectH;"],
  [/let isTime = .*;/g, "const isTime = false;"],
  [/else if \(scaleX\.time\)/, "else if (false)"],
  [/const _(timeAxisSplits|timeAxisVals|timeSeriesVal|tzDate|fmtDate) .*;/g, ""],
  [/const (days3|months3|localTz|numFormatter|wholeIncrs) = .*;/g, ""],
  [/const engNames = \{[^}]*\};/, ""],
  [/const xySeriesOpts = \{[\s\S]*?\n\};/, ""],
  // lines of one style each, without points, focus or transparency, on whole pixels
  [/let (show|idxs) = s\.points\.(show|filter)\(.*;/g, ""],
  [/if \(show \|\| idxs\)/, "if (false)"],
  [/if \(_points( && fillStyle == null)?\)/g, "if (false)"],
  [/if \(!_points\)/, "if (true)"],
  [/(stroke|fill)Path instanceof Map/g, "false"],
  [/\bctxAlpha != (s\.alpha|_ctxAlpha)/g, "false"],
  [/let shouldAlpha = .*;/, "const shouldAlpha = false;"],
  [/const cursorFocus = .*;/, "const cursorFocus = false;"],
  [/const cursorOnePt = .*;/, "const cursorOnePt = false;"],
  [/pxAlign == 0 \? retArg0 : pxAlign == 1 \? round : v => incrRound\(v, pxAlign\)/, "round"],
  [/(s\.)?\bpxAlign == 1/g, "true"],
  // at most one band between two lines
  [/\(flags & CLIP_FILL_STROKE\) == CLIP_FILL_STROKE/, "false"],
  [/flags & BAND_CLIP_STROKE\b/, "false"],
  [/bandClipDir == 2/, "false"],
  [/isArr\(bandClip\)/, "false"],
  // axes without titles, ticks, borders or turned texts, whose texts are given
  [/axis\.label != null/g, "false"],
  [/\b(ticks|border)\.show\b/g, "false"],
  [/let angle += .*;/, "const angle = 0;"],
  [/axis\._rotate = .*;/, ""],
  [/av \|\| numAxisVals/, "av"],
  [/axis\.align(To)? == [12]/g, "false"],
  [/let _parts = .*;/, "let _parts = [val];"],
  [/const font += .*;/, "const font = '12px sans-serif';"],
  // no legend, no selection, and a cursor that is a vertical line
  [/const showLegend = .*;/, "const showLegend = false;"],
  [/if \(legend\.live\) \{(?=\s+const getMultiVals)/, "if (false) {"],
  [/const legend += .*;/, "const legend = {};"],
  [/const markers .*;\s+\{[^}]+\}/, ""],
  [/legend\.show && legend\.live && shouldSetLegend/, "false"],
  [/if \(legend\.live\) \{(?=\s+activeIdxs)/, "if (true) {"],
  [/onMouse\((mousedown|dblclick), .*;/g, ""],
  [/bias == 0 \|\| bias == -?1/g, "true"],
  [/\bselect\.show\b/g, "false"],
  [/\b_?dragging(?=\)| &&)/g, "false"],
  [/on\("click", wrap, [\s\S]*?\n\t\}, true\);/, ""],
  [/cursor\._lock(?=\))/g, "false"],
  [/if \(cursor\.y\)\s+yCursor = .*;/, ""],
  [/\bhCursor && .*;/g, ""],
  [/let withProx = .*;/, "const withProx = false;"],
  [/getBBox != null/, "false"],
  [/s\.(value|label) = .*;/g, ""],
  // nothing from other plots, no plugins, one hook
  [/\bsrc == null(?= \|\||\) \{)/g, "true"],
  [/\be != null(?=\) \{|\)$)/gm, "true"],
  [/^\tevents\.\w+ = .*$/gm, ""],
  [/events\["setSeries"\] = [\s\S]*?\n\t\};/, ""],
  [/const syncOpts = assign\([\s\S]*?cursor\.sync = syncOpts;/, ""],
  [/const syncKey = .*;/, "const syncKey = null;"],
  [/if \(syncKey != null\)/, "if (false)"],
  [/\(opts\.plugins \|\| \[\]\)\.forEach\([\s\S]*?\n\t\}\);/g, ""],
  [/^\s*fire\("(?!setCursor).*;$/gm, ""],
  [/\bopts\.(id != null|title)(?=\))/g, "false"],
  [/\bdeferHooks\b(?=\))/, "false"],
  // always in a browser, with options that are arrays and objects
  [/typeof window != 'undefined'/, "true"],
  [/typeof queueMicrotask == "undefined" \? .* : queueMicrotask/, "queueMicrotask"],
  [/o instanceof TypedArray/, "false"],
  // what nobody calls or reads
  [/^\tself\.(addSeries|delSeries|setSeries|setSelect|setLegend|(add|set|del)Band|setScale|batch|pub) = .*$/gm, ""],
  [/^\tself\.(valToIdx|posToIdx) = .*$/gm, ""],
  [/^\tself\.valToPos = [\s\S]*?\n\t\);/m, ""],
  [/^\{\s+uPlot\.addGap[\s\S]*?^\}/m, ""],
  [/^\t?uPlot\.\w+ += .*$/gm, ""],
];

/** What is always so in our lists: see `CHART`. */
const LIST: readonly Replacement[] = [
  // no scroll is smooth
  [/this\.shouldMeasureDuringScroll\(index\)/g, "true"],
  [/^ {4}this\.shouldMeasureDuringScroll = [\s\S]*?\n {4}\};/m, ""],
  [/\(\(_a = this\.scrollState\) == null \? void 0 : _a\.behavior\) !== "smooth"/, "true"],
  // one column, from above, always shown
  [/\b(this\.|instance\.)?options\.horizontal\b/g, "false"],
  [/\b(this\.options\.)?lanes === 1/g, "true"],
  [/\b(this\.options\.)?lanes > 1/g, "false"],
  [/this\.options\.enabled\b/g, "true"],
  [/!enabled\b/g, "false"],
  [/this\.(lanesChangedFlag|lanesSettling)\b(?! =)/g, "false"],
  [/^ *this\.(lanesChangedFlag|lanesSettling|prevLanes) = .*;/gm, ""],
  [/if \(lanesChanged\) \{\s*\}/, ""],
  [/^ *const lanesChanged = .*;/m, ""],
  [/if \(this\.laneAssignments\.size > count\) \{/, "if (false) {"],
  [/^ *this\.laneAssignments(\.clear\(\)| = .*);/gm, ""],
  [/const cachedLane = .*;/, ""],
  [/cachedLane !== void 0 && false/, "false"],
  [/const laneLastIndex = new Array\([\s\S]*?\);/, ""],
  [/laneLastIndex\[(item\.)?lane\] = [im];/g, ""],
  [/^ {4}this\.getFurthestMeasurement = [\s\S]*?\n {4}\};/m, ""],
  // scrolls go to rows, and nothing is configured besides
  [/^ {4}this\.(scrollToOffset|scrollBy) = [\s\S]*?\n {4}\};/gm, ""],
  [
    /instance\.options\.useAnimationFrameWithResizeObserver|this\.options\.useAnimationFrameWithResizeObserver/g,
    "false",
  ],
  [/instance\.options\.useScrollendEvent && supportsScrollend/g, "false"],
  [/const \{ horizontal, isRtl \} = instance\.options;/, ""],
  [/horizontal \? element\["scrollLeft"\] .* : /, ""],
  [/typeof this\.options\.initialOffset === "function"/, "false"],
  [/process\.env\.NODE_ENV !== "production" && this\.options\.debug/, "false"],
  [/this\.shouldAdjustScrollPositionOnItemSizeChange !== void 0/, "false"],
  [/^ {8}(debug|isRtl|useScrollendEvent|useAnimationFrameWithResizeObserver): .*,?$/gm, ""],
];

/** The same for what its helpers do: results are kept, and nothing is logged. */
const LIST_HELPERS: readonly Replacement[] = [
  [/if \(opts\.key && .*?\(opts\)\)\)/g, "if (false)"],
  [/if \(\(opts == null \? void 0 : opts\.onChange\) .*\{/, "if (false) {"],
  [/^ *isInitial = false;$/m, ""],
];

const LIBRARIES: readonly (readonly [file: RegExp, used: (code: string) => string])[] = [
  [/\buplot\b.*\.esm\.js$/, withoutUnused],
  [/\bvirtual-core\b.*\bindex\.js$/, (code) => replaceAll(code, LIST)],
  [/\bvirtual-core\b.*\butils\.js$/, (code) => replaceAll(code, LIST_HELPERS)],
];

export const libraryParts: Plugin = {
  name: "library-parts",
  transform: (code, id) => {
    const [, used] = LIBRARIES.find(([file]) => file.test(id)) ?? [];
    return used === undefined ? null : { code: used(code), map: null };
  },
};

/** Return the code of uPlot without what is not used; the bundler removes what can no longer be reached. */
export function withoutUnused(code: string): string {
  const empty = Object.entries(UNUSED).map(([name, body]): Replacement => {
    // From the head of the function to the brace below it.
    const pattern = new RegExp(`^(\\t*)function ${name}\\(.*\\{\\n[\\s\\S]*?\\n\\1\\}`, "m");
    return [pattern, `function ${name}() { ${body} }`];
  });
  return replaceAll(code, [...empty, ...CHART]);
}

function replaceAll(code: string, replacements: readonly Replacement[]): string {
  return replacements.reduce((whole, [pattern, value]) => {
    if (whole.search(pattern) < 0) throw new Error(`nothing is ${pattern}: compare dashboard/library-parts.ts with it`);
    return whole.replace(pattern, () => value);
  }, code);
}

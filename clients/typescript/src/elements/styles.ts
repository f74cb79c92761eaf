/** The style of the elements. A page changes it with custom properties, and with `::part`. */

const CSS = `
:host {
  --_running: var(--tidings-running, light-dark(#1f5fc4, #74a9ff));
  --_complete: var(--tidings-complete, light-dark(#0c7358, #3fbf97));
  --_failed: var(--tidings-failed, light-dark(#b5173a, #ff7d68));
  --_warn: var(--tidings-warn, light-dark(#925400, #edb03c));
  --_idle: var(--tidings-idle, light-dark(#626a78, #929ba8));
  --_text: var(--tidings-text, light-dark(#191d24, #e8ebf0));
  --_text-2: var(--tidings-text-2, light-dark(#4a5260, #b1b8c4));
  --_track: var(--tidings-track, light-dark(#e3e6eb, #2b3139));
  --_line: var(--tidings-line, light-dark(#e3e6eb, #262b32));
  display: block;
  color: var(--_text);
  font: var(--tidings-font, 13px/20px system-ui, sans-serif);
  font-variant-numeric: tabular-nums;
}
:host([hidden]) { display: none; }
ul { list-style: none; margin: 0; padding: 0; }
li + li { border-top: 1px solid var(--_line); }
.row {
  --_state: var(--_idle);
  display: grid;
  grid-template: "mark name bar percent time" auto "mark activity activity activity word" auto / 16px minmax(6em, 2fr) minmax(4em, 3fr) 4em minmax(8em, auto);
  column-gap: 8px;
  align-items: center;
  padding: 6px 0;
}
.row[data-look=running], .row[data-look=stopping] { --_state: var(--_running); }
.row[data-look=complete] { --_state: var(--_complete); }
.row[data-look=failed] { --_state: var(--_failed); }
.row[data-look=away], .row[data-look=stalled] { --_state: var(--_warn); }
.mark { grid-area: mark; color: var(--_state); text-align: center; }
.name { grid-area: name; font-weight: 600; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.bar { grid-area: bar; height: 8px; border-radius: 2px; background: var(--_track); overflow: hidden; }
.fill { height: 100%; width: 0; background: var(--_state); }
.percent { grid-area: percent; text-align: end; }
.time { grid-area: time; text-align: end; color: var(--_text-2); }
.word { grid-area: word; text-align: end; color: var(--_state); }
.activity { grid-area: activity; color: var(--_text-2); overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.note { margin: 0; color: var(--_text-2); }
.note:empty, ul:empty { display: none; }
:host([data-link=stale]) .row, :host([data-link=closed]) .row { opacity: .6; filter: grayscale(1); }
.bar[data-indeterminate] .fill { width: 30%; animation: pass 1.6s linear infinite; }
@keyframes pass { from { transform: translateX(-100%); } to { transform: translateX(333%); } }
:host([data-link=stale]) .fill, :host([data-link=closed]) .fill { animation-play-state: paused; }
@media (prefers-reduced-motion: reduce) {
  .bar[data-indeterminate] .fill { width: 100%; animation: none; opacity: .4; }
}
@media (forced-colors: active) {
  .bar { border: 1px solid CanvasText; }
  .fill { background: CanvasText; forced-color-adjust: none; }
}
@container (width < 400px) {
  .row { grid-template: "mark name percent" auto "mark bar bar" auto "mark activity activity" auto "mark time word" auto / 16px 1fr auto; }
  .time { text-align: start; }
}
.frame { container-type: inline-size; }
`;

let sheet: CSSStyleSheet | undefined;

/** Gives a shadow root the style: as an object, because a page's policy may forbid styles that are text. */
export function adoptStyle(root: ShadowRoot): void {
  if (sheet === undefined) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
  }
  root.adoptedStyleSheets = [sheet];
}

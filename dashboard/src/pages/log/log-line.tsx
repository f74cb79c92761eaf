/** One row of a log. */

import { Component, type JSX } from "preact";
import { paint } from "../../format/ansi-paint.ts";
import { formatFullTime, formatPreciseClock, type Zone } from "../../format/time.ts";
import type { Level, LogLine } from "./log-model.ts";
import { type LogRow, rawText } from "./log-rows.ts";
import { type Match, type Segment, segments } from "./log-search.ts";

export interface LogRowProps {
  readonly row: LogRow;
  readonly zone: Zone;
  readonly isRaw: boolean;
  readonly hasTimes: boolean;
  /** Address of the line. */
  readonly href: string;
  readonly isLinked: boolean;
  readonly onLink: (position: string) => void;
  readonly found: readonly Match[];
  readonly current: Match | undefined;
}

const LEVEL_CLASS: Readonly<Record<Level, string>> = {
  debug: "l-debug",
  info: "l-info",
  warning: "l-warning",
  error: "l-error",
  critical: "l-error",
};

/** A line, or a remark between lines. It is drawn again only if something of it changes. */
export class LogRowView extends Component<LogRowProps> {
  override shouldComponentUpdate(next: LogRowProps): boolean {
    // Functions are new in each render of the list, but behave the same.
    return (Object.keys(next) as (keyof LogRowProps)[]).some(
      (name) => name !== "onLink" && next[name] !== this.props[name],
    );
  }

  render(props: LogRowProps): JSX.Element {
    const { row } = props;
    if (row.kind === "remark") return <p class="log-remark">{row.text}</p>;
    const refreshes = row.refreshes.toLocaleString("en-US");
    return (
      <div class={`log-line ${LEVEL_CLASS[row.level]}${props.isLinked ? " linked" : ""}`}>
        {props.hasTimes ? <LineTime {...props} line={row} /> : null}
        <span class="lv">{row.level}</span>
        <span class="msg">
          {props.isRaw ? rawText(row) : segments(row, props.found, props.current).map(drawSegment)}
        </span>
        {row.refreshes > 1 ? (
          <span class="refreshes" title={`${refreshes} refreshes of this line; the last is shown`}>
            ↻ {refreshes}
          </span>
        ) : null}
      </div>
    );
  }
}

function LineTime({ line, zone, href, onLink }: LogRowProps & { readonly line: LogLine }): JSX.Element {
  const isKnown = !Number.isNaN(line.at);
  const clock = isKnown ? formatPreciseClock(line.at, zone) : "";
  const follow = (event: JSX.TargetedMouseEvent<HTMLAnchorElement>) => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    onLink(line.position);
  };
  return (
    <a
      class="at"
      href={href}
      tabIndex={-1}
      title={`${isKnown ? `${formatFullTime(line.at, zone)}; ` : ""}link to this line`}
      onClick={follow}
    >
      <time dateTime={isKnown ? new Date(line.at).toISOString() : ""}>
        {clock.slice(0, 8)}
        <span>{clock.slice(8)}</span>
      </time>
    </a>
  );
}

function drawSegment({ text, style, mark }: Segment, index: number): JSX.Element | string {
  const styled = drawStyled(text, style, index);
  if (mark === undefined) return styled;
  return (
    <mark key={index} class={mark === "current" ? "current" : ""}>
      {styled}
    </mark>
  );
}

function drawStyled(text: string, style: Segment["style"], index: number): JSX.Element | string {
  if (style === undefined) return text;
  const { classes, properties } = paint(style);
  return (
    <span key={index} class={classes} style={properties}>
      {text}
    </span>
  );
}

/** When a wall loads itself again: after an upgrade of its hub, and once a night, because a page of weeks collects faults. Pure. */

/** Age below which a page is not loaded again at night, in milliseconds. */
const MIN_AGE_MS = 12 * 3_600_000;
/** Hours of the night, by the wall's clock, in which it reloads. */
const NIGHT_HOURS: readonly number[] = [3, 4];
/** Spread of the walls of one hub, in milliseconds: they must not come all together. */
const MAX_DELAY_MS = 30_000;

/** What is known when the question is asked. */
export interface WallCondition {
  /** Id of the bundle that this page was loaded with, and of the one that the hub serves now. */
  readonly loadedBuild: string | undefined;
  readonly servedBuild: string | undefined;
  /** The build for which this tab was reloaded before; then the hub's cache or a proxy still serves the older page. */
  readonly reloadedFor: string | undefined;
  /** True: the hub answers. A page is never given up for one that may not load. */
  readonly isLive: boolean;
  /** Age of the page in milliseconds, and the hour of the wall's clock. */
  readonly ageMs: number;
  readonly hour: number;
}

/** Return why the wall should load itself again now; null to stay. */
export function reasonToReload(condition: WallCondition): "upgrade" | "night" | null {
  const { loadedBuild, servedBuild, reloadedFor, isLive, ageMs, hour } = condition;
  if (!isLive) return null;
  const isUpgraded = loadedBuild !== undefined && servedBuild !== undefined && loadedBuild !== servedBuild;
  if (isUpgraded && reloadedFor !== servedBuild) return "upgrade";
  return ageMs >= MIN_AGE_MS && NIGHT_HOURS.includes(hour) ? "night" : null;
}

/** Return how long to wait before, in milliseconds. @param random - 0 up to 1. */
export function reloadDelayMs(random: number): number {
  return Math.floor(random * MAX_DELAY_MS);
}

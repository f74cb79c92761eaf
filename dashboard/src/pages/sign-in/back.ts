/**
 * Where the reader was before signing in: only ever a page of this dashboard, whatever the address says.
 *
 * @param given - Address relative to the mount point, from the query.
 * @param base - The mount point, with a slash at its end.
 */
export function backTo(given: string | null, base: URL): string {
  const home = base.pathname;
  if (given === null || !URL.canParse(given, base.href)) return home;
  const wanted = new URL(given, base);
  const isHere = wanted.origin === base.origin && wanted.pathname.startsWith(home);
  return isHere && !wanted.pathname.endsWith("/signin") ? wanted.pathname + wanted.search : home;
}

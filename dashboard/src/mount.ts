/**
 * Where the dashboard is mounted. All of its pages lie in one directory, with what they are about in the query, so the
 * page works below any prefix without knowing it, and no proxy can break an address.
 */
const base = new URL("./", document.baseURI);

/** Path of the mount point without the slash at its end: `` or `/tidings`. */
export const mountPoint = base.pathname.replace(/\/$/, "");

/** Address of a path on this hub: `v1/operations`, `icons/live.svg`. */
export function addressOf(path: string): URL {
  return new URL(path, base);
}

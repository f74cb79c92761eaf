/** What a grant covers, as far as a page must know to show a lock. The hub decides (docs/access.md, "Grants"). */

/** Whether a grant, as it is written, covers an action on a path, or on a part of a channel. */
export function grantCovers(line: string, action: string, path: string): boolean {
  const [, granted = "", pattern = ""] = /^(\S+)\s*(.*)$/.exec(line.trim()) ?? [];
  if (granted === "admin") return true;
  if (granted !== action) return false;
  if (path === "" || pattern === "*" || pattern === path) return true;
  const [channel = "", key] = splitPath(pattern);
  const [wantedChannel = "", wantedKey] = splitPath(path);
  if (channel !== wantedChannel) return false;
  if (key === undefined || wantedKey === undefined) return true;
  return key.endsWith("*") ? wantedKey.startsWith(key.slice(0, -1)) : key === wantedKey;
}

function splitPath(path: string): readonly [string, string | undefined] {
  const slash = path.indexOf("/");
  return slash < 0 ? [path, undefined] : [path.slice(0, slash), path.slice(slash + 1)];
}

/** An operation as commands for a shell: quoted, so that an id from anywhere is one argument and nothing else. */

const SAFE = /^[A-Za-z0-9_./:@%+=,-]+$/;
/** Address of a hub that the command line uses by itself. */
const DEFAULT_URL = "ws://127.0.0.1:8765/ws";

/** Text as one word of a POSIX shell. */
export function shellQuote(text: string): string {
  if (SAFE.test(text) && !text.startsWith("-")) return text;
  if (!hasControls(text)) return `'${text.replaceAll("'", `'\\''`)}'`;
  // Control characters would act on the terminal into which the command is pasted.
  return `"$(printf ${shellQuote(printfFormat(text))})"`;
}

function hasControls(text: string): boolean {
  return /[\p{Cc}\u202a-\u202e\u2066-\u2069]/u.test(text);
}

function printfFormat(text: string): string {
  return [...new TextEncoder().encode(text)]
    .map((byte) => {
      const isPlain = byte >= 0x20 && byte < 0x7f && byte !== 0x25 && byte !== 0x5c;
      return isPlain ? String.fromCharCode(byte) : `\\${byte.toString(8).padStart(3, "0")}`;
    })
    .join("");
}

/** A command with what it does, for a list of commands to copy. */
export interface Command {
  readonly label: string;
  readonly text: string;
}

/** Whether an id is what URLs take for "here" or "one up": such an address leads elsewhere. */
export function isDotSegment(operationId: string): boolean {
  return operationId === "." || operationId === "..";
}

/**
 * The commands for an operation.
 *
 * @param hub - Address of the hub over HTTP, with a slash at its end.
 * @param isIdentified - Whether the hub asks for a credential: curl then needs one.
 */
export function commandsFor(operationId: string, hub: URL, isLive: boolean, isIdentified: boolean): readonly Command[] {
  const socket = new URL("ws", hub);
  socket.protocol = hub.protocol === "https:" ? "wss:" : "ws:";
  const url = socket.href === DEFAULT_URL ? "" : ` --url ${shellQuote(socket.href)}`;
  const id = operationId.startsWith("-") ? `-- ${shellQuote(operationId)}` : shellQuote(operationId);
  const tidings = (command: string) => `tidings ${command}${url} ${id}`;
  const isDots = isDotSegment(operationId);
  const route = `${new URL("v1/operations/", hub).href}${encodeURIComponent(operationId)}`;
  const credential = isIdentified ? ' -H "Authorization: Bearer $TIDINGS_TOKEN"' : "";
  const commands = [
    { label: "Show it", text: tidings("show") },
    { label: isLive ? "Follow its log" : "Print its log", text: tidings(isLive ? "logs -f" : "logs") },
    { label: "As JSON", text: `curl -sS${isDots ? " --path-as-is" : ""}${credential} ${shellQuote(route)}` },
  ];
  if (isLive) commands.splice(2, 0, { label: "Cancel it", text: tidings("cancel") });
  return commands;
}

/** Returns the fault of a value with its path; "" if the value is valid. */
type Check = (value: unknown, path: string) => string;

interface TextLimits {
  readonly shortest?: number;
  readonly longest?: number;
  readonly pattern?: RegExp;
  readonly format?: keyof typeof FORMATS;
}

interface NumberLimits {
  readonly whole?: boolean;
  readonly least?: number;
  readonly most?: number;
  readonly above?: number;
  readonly below?: number;
  readonly multipleOf?: number;
}

interface SizeLimits {
  readonly fewest?: number;
  readonly most?: number;
}

const DAY = "[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])";
const TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\\.[0-9]+)?";
const OFFSET = "(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])";
const FORMATS = /* @__PURE__ */ (() => ({
  "date-time": new RegExp(`^${DAY}[Tt ]${TIME}${OFFSET}$`, "u"),
  date: new RegExp(`^${DAY}$`, "u"),
  time: new RegExp(`^${TIME}${OFFSET}$`, "u"),
  "partial-time": new RegExp(`^${TIME}$`, "u"),
  uuid: /^[0-9A-Fa-f]{8}-?(?:[0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}$/u,
  base64: /^[A-Za-z0-9+/]*={0,2}$/u,
} as const))();

const is = {
  anything(): Check {
    return () => "";
  },

  nothing(): Check {
    return (value, path) => (value === null ? "" : `${path}: expected null`);
  },

  flag(): Check {
    return (value, path) => (typeof value === "boolean" ? "" : `${path}: expected true or false`);
  },

  text(limits: TextLimits = {}): Check {
    const { shortest = 0, longest = Infinity, pattern, format } = limits;
    return (value, path) => {
      if (typeof value !== "string") return `${path}: expected a string`;
      if (shortest > 0 || longest < Infinity) {
        const characters = [...value].length;
        if (characters < shortest) return `${path}: shorter than ${shortest}`;
        if (characters > longest) return `${path}: longer than ${longest}`;
      }
      if (pattern !== undefined && !pattern.test(value)) return `${path}: does not match ${pattern.source}`;
      return format === undefined || FORMATS[format].test(value) ? "" : `${path}: expected a ${format}`;
    };
  },

  number(limits: NumberLimits = {}): Check {
    const { whole = false, least = -Infinity, most = Infinity, above = -Infinity, below = Infinity } = limits;
    const { multipleOf } = limits;
    return (value, path) => {
      if (typeof value !== "number" || !Number.isFinite(value)) return `${path}: expected a number`;
      if (whole && !Number.isInteger(value)) return `${path}: expected a whole number`;
      if (value < least || value <= above) return `${path}: too small`;
      if (value > most || value >= below) return `${path}: too large`;
      const times = multipleOf === undefined ? 0 : value / multipleOf;
      return Math.abs(times - Math.round(times)) < 1e-9 ? "" : `${path}: expected a multiple of ${multipleOf}`;
    };
  },

  choice(...values: readonly (string | number | boolean | null)[]): Check {
    return (value, path) =>
      values.some((each) => each === value) ? "" : `${path}: expected one of ${values.map((each) => JSON.stringify(each)).join(", ")}`;
  },

  array(items: Check, limits: SizeLimits = {}): Check {
    const { fewest = 0, most = Infinity } = limits;
    return (value, path) => {
      if (!Array.isArray(value)) return `${path}: expected an array`;
      if (value.length < fewest) return `${path}: fewer than ${fewest}`;
      if (value.length > most) return `${path}: more than ${most}`;
      return first(value, (item, index) => items(item, `${path}[${index}]`));
    };
  },

  row(items: readonly Check[], fewest: number, most: number): Check {
    return (value, path) => {
      if (!Array.isArray(value)) return `${path}: expected an array`;
      if (value.length < fewest) return `${path}: fewer than ${fewest}`;
      if (value.length > most) return `${path}: more than ${most}`;
      return first(items.slice(0, value.length), (check, index) => check(value[index], `${path}[${index}]`));
    };
  },

  map(values: Check, names: Check = is.text(), limits: SizeLimits = {}): Check {
    const { fewest = 0, most = Infinity } = limits;
    return (value, path) => {
      if (!isObject(value)) return `${path}: expected an object`;
      const entries = Object.entries(value);
      if (entries.length < fewest) return `${path}: fewer than ${fewest}`;
      if (entries.length > most) return `${path}: more than ${most}`;
      return first(entries, ([name, item]) => names(name, `${path}: the name`) || values(item, `${path}.${name}`));
    };
  },

  object(required: Readonly<Record<string, Check>>, optional: Readonly<Record<string, Check>> = {}, closed = false): Check {
    const needed = Object.entries(required);
    const possible = Object.entries(optional);
    const known = new Set([...needed, ...possible].map(([name]) => name));
    return (value, path) => {
      if (!isObject(value)) return `${path}: expected an object`;
      const more = closed ? Object.keys(value).find((name) => !known.has(name)) : undefined;
      if (more !== undefined) return `${path}.${more}: unexpected member`;
      return (
        first(needed, ([name, check]) =>
          Object.hasOwn(value, name) ? check(value[name], `${path}.${name}`) : `${path}.${name}: missing`,
        ) ||
        first(possible, ([name, check]) => (Object.hasOwn(value, name) ? check(value[name], `${path}.${name}`) : ""))
      );
    };
  },

  either(...options: readonly Check[]): Check {
    return (value, path) => {
      const faults = options.map((option) => option(value, path));
      if (faults.includes("")) return "";
      return faults.length > 2 ? `${path}: fits none of the allowed types` : (faults[0] ?? "");
    };
  },

  /** For definitions that refer to each other. */
  later(check: () => Check): Check {
    return (value, path) => check()(value, path);
  },

  /** A message of a hub: of one type, or of any; an event has one of the channels. */
  message(type: string | undefined, channels: readonly string[], data: Check): Check {
    const name = is.text({ longest: 64 });
    const channel = channels.length > 0 ? is.choice(...channels) : is.text();
    return is.object(
      {
        type: type === undefined ? is.text() : is.choice(type),
        timestamp: is.text({ format: "date-time" }),
        trace_id: is.text({ longest: 128 }),
        data,
        ...(channels.length > 0 ? { channel } : {}),
      },
      {
        ...(channels.length > 0 ? {} : { channel }),
        id: name,
        reply_to: name,
        position: name,
        event_id: name,
      },
    );
  },
} as const;

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function first<T>(items: readonly T[], fault: (item: T, index: number) => string): string {
  for (const [index, item] of items.entries()) {
    const found = fault(item, index);
    if (found !== "") return found;
  }
  return "";
}

import { nearMiss } from '../kit/near-miss.ts';
import { parseCidr, parseIp } from '../model/cidr.ts';
import { isQuantity } from '../model/quantity.ts';
import { parseDuration } from './duration.ts';

/** Something that a reader of a configuration should know. `path` is such as "maxPods" or "iptables.syncPeriod". */
export interface Finding {
  readonly level: 'error' | 'warning';
  readonly path: readonly (string | number)[];
  readonly message: string;
}

export type Report = (finding: Finding) => void;

/**
 * One field of a configuration kind: what it may hold, and whether deckhand acts on it. `read` reports what is wrong and
 * answers undefined then.
 */
export interface Field<T> {
  readonly honoured: boolean;
  read(value: unknown, path: readonly (string | number)[], report: Report): T | undefined;
}

export type Fields = Readonly<Record<string, Field<unknown>>>;
/** What a kind's document holds after reading: absent fields are absent. */
export type Values<F extends Fields> = { readonly [K in keyof F]?: F[K] extends Field<infer T> ? T : never };

function field<T>(expected: string, parse: (value: unknown) => T | undefined): Field<T> {
  return {
    honoured: true,
    read: (value, path, report) => {
      const parsed = parse(value);
      if (parsed === undefined) {
        report({ level: 'error', path, message: `is ${shown(value)}; expected ${expected}` });
      }
      return parsed;
    },
  };
}

/** A field that is known and checked, but that nothing in deckhand follows yet. */
export function later<T>(inner: Field<T>): Field<T> {
  return { ...inner, honoured: false };
}

/** A field that would change what runs on the node, so that leaving it out silently would be worse than stopping. */
export function refused(why: string): Field<never> {
  return {
    honoured: true,
    read: (value, path, report) => {
      if (!isEmpty(value)) report({ level: 'error', path, message: `is set, but ${why}` });
      return undefined;
    },
  };
}

export const text = (expected = 'text'): Field<string> =>
  field(expected, (value) => (typeof value === 'string' ? value : undefined));

export const boolean = (): Field<boolean> =>
  field('true or false', (value) => (typeof value === 'boolean' ? value : undefined));

/** From 1 on, 0 stands for the default, as in the Go types that cannot tell 0 from absent. */
export const integer = (min: number, max = 2 ** 31 - 1): Field<number> =>
  zeroIsAbsent(
    min > 0,
    field(`an integer from ${min} to ${max}`, (value) =>
      typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max ? value : undefined,
    ),
  );

export const number = (min: number, max: number): Field<number> =>
  field(`a number from ${min} to ${max}`, (value) =>
    typeof value === 'number' && value >= min && value <= max ? value : undefined,
  );

/** Milliseconds. "0s" stands for the default, which configurations that a program wrote out are full of. */
export const duration = (minMs = 0, maxMs = Number.MAX_SAFE_INTEGER): Field<number> =>
  zeroIsAbsent(
    true,
    field(`a duration such as 10s or 1m30s${boundsOf(minMs, maxMs)}`, (value) => {
      const ms = typeof value === 'string' ? parseDuration(value) : undefined;
      return ms !== undefined && ms >= minMs && ms <= maxMs ? ms : undefined;
    }),
  );

export const oneOf = <const T extends string>(...choices: readonly T[]): Field<T> =>
  field(choices.map((choice) => JSON.stringify(choice)).join(' or '), (value) =>
    choices.find((choice) => choice === value),
  );

export const ip = (): Field<string> =>
  field('an IP address', (value) => (typeof value === 'string' && parseIp(value) !== undefined ? value : undefined));

/** One CIDR, or two of different families joined by a comma. */
export const cidrList = (): Field<readonly string[]> =>
  field('a CIDR such as 10.0.0.0/16, or one per IP family joined by a comma', (value) => {
    if (typeof value !== 'string') return undefined;
    if (value === '') return [];
    const parts = value.split(',').map((part) => part.trim());
    const families = new Set(parts.map((part) => parseCidr(part)?.family));
    return families.has(undefined) || families.size !== parts.length ? undefined : parts;
  });

/** An absolute path; empty text is absent. */
export const absolute = (of: string): Field<string> =>
  field(`an absolute path of ${of}`, (value) =>
    typeof value === 'string' && (value === '' || value.startsWith('/')) ? value : undefined,
  );

/** A unix socket, as kubelet spells endpoints; a bare path is one, too. */
export const endpoint = (): Field<string> =>
  field('a socket such as unix:///run/containerd/containerd.sock', (value) => {
    if (typeof value !== 'string') return undefined;
    if (value === '' || /^unix:\/\/\/.+/.test(value)) return value;
    return value.startsWith('/') ? `unix://${value}` : undefined;
  });

export const quantity = (): Field<string> =>
  field('a quantity such as 100m or 64Mi', (value) => (isQuantity(value) ? String(value) : undefined));

/** A quantity, or a percentage as eviction thresholds have it. */
export const threshold = (): Field<string> =>
  field('a quantity such as 100Mi or a percentage such as 10%', (value) =>
    typeof value === 'string' && (isPercentage(value) || isQuantity(value)) ? value : undefined,
  );

export function listOf<T>(item: Field<T>): Field<readonly T[]> {
  return {
    honoured: true,
    read: (value, path, report) => {
      if (value === null) return [];
      if (!Array.isArray(value)) {
        report({ level: 'error', path, message: `is ${shown(value)}; expected a list` });
        return undefined;
      }
      const items: T[] = [];
      for (const [index, entry] of value.entries()) {
        const read = item.read(entry, [...path, index], report);
        if (read !== undefined) items.push(read);
      }
      return items;
    },
  };
}

export function mapOf<T>(item: Field<T>, keyError?: (key: string) => string | undefined): Field<Record<string, T>> {
  return {
    honoured: true,
    read: (value, path, report) => {
      if (value === null) return {};
      if (!isMapping(value)) {
        report({ level: 'error', path, message: `is ${shown(value)}; expected a mapping` });
        return undefined;
      }
      const result: Record<string, T> = {};
      for (const [key, entry] of Object.entries(value)) {
        const error = keyError?.(key);
        if (error !== undefined) report({ level: 'error', path: [...path, key], message: error });
        const read = item.read(entry, [...path, key], report);
        if (read !== undefined) result[key] = read;
      }
      return result;
    },
  };
}

/** A mapping of named fields; unknown names are errors, with the name that was probably meant. */
export function section<F extends Fields>(fields: F): Field<Values<F>> {
  return {
    honoured: true,
    read: (value, path, report) => {
      if (value === null) return {};
      if (!isMapping(value)) {
        report({ level: 'error', path, message: `is ${shown(value)}; expected a mapping` });
        return undefined;
      }
      const result: Record<string, unknown> = {};
      for (const [name, entry] of Object.entries(value)) {
        const known = Object.hasOwn(fields, name) ? fields[name] : undefined;
        if (known === undefined) {
          const meant = nearMiss(name, Object.keys(fields));
          const hint = meant === undefined ? '' : `; did you mean ${meant}?`;
          report({ level: 'error', path: [...path, name], message: `is not a field here${hint}` });
          continue;
        }
        if (entry === undefined || entry === null) continue;
        const read = known.read(entry, [...path, name], report);
        if (read === undefined) continue;
        if (!known.honoured && !isEmpty(entry)) {
          report({ level: 'warning', path: [...path, name], message: 'is known, but not yet honoured' });
        }
        result[name] = read;
      }
      return result as Values<F>;
    },
  };
}

/** Anything: for parts that are not looked into yet. */
export const anything = (): Field<unknown> => ({ honoured: true, read: (value) => value });

export function isPercentage(value: string): boolean {
  return /^\d+(\.\d+)?%$/.test(value) && Number(value.slice(0, -1)) <= 100;
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function zeroIsAbsent<T>(when: boolean, inner: Field<T>): Field<T> {
  if (!when) return inner;
  return { ...inner, read: (value, path, report) => (isZero(value) ? undefined : inner.read(value, path, report)) };
}

function isZero(value: unknown): boolean {
  return value === 0 || (typeof value === 'string' && value !== '' && parseDuration(value) === 0);
}

/** Says nothing: absent, or the zero value of its Go type. */
function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '' || value === false || isZero(value)) return true;
  return typeof value === 'object' && Object.values(value).every(isEmpty);
}

function boundsOf(minMs: number, maxMs: number): string {
  const least = minMs > 1 ? `, at least ${minMs / 1000}s` : '';
  return maxMs === Number.MAX_SAFE_INTEGER ? least : `${least}, at most ${maxMs / 1000}s`;
}

function shown(value: unknown): string {
  const json = JSON.stringify(value) ?? String(value);
  return json.length > 80 ? `${json.slice(0, 77)}…` : json;
}

import { isDeepStrictEqual } from 'node:util';
import { CodedError } from '../kit/errors.ts';
import { nearMiss } from '../kit/near-miss.ts';
import { parseCidr, parseIp } from '../model/cidr.ts';
import { isQuantity } from '../model/quantity.ts';
import { formatDuration, parseDuration } from './duration.ts';

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
  /** As it stands in a document. Default: as it is. */
  readonly show?: (value: never) => unknown;
  /** Puts defaults where nothing is, in mappings of named fields. */
  readonly fill?: (value: never) => unknown;
}

/** A field that has a value although a document is silent about it. */
export interface Defaulted<T> extends Field<T> {
  readonly fallback: T;
}

/** A mapping of named fields. */
export interface Section<F extends Fields> extends Field<Values<F>> {
  readonly fields: F;
  readonly fill: (value: Values<F>) => Filled<F>;
  readonly show: (value: Values<F>) => Record<string, unknown>;
}

export type Fields = Readonly<Record<string, Field<unknown>>>;
/** What a kind's document holds after reading: absent fields are absent. */
export type Values<F extends Fields> = { readonly [K in keyof F]?: F[K] extends Field<infer T> ? T : never };

/** The same with its defaults. Only fields that have none may be absent. */
export type Filled<F extends Fields> = {
  readonly [K in keyof F as F[K] extends Defaulted<unknown> | { readonly fields: Fields } ? K : never]: F[K] extends {
    readonly fields: infer G extends Fields;
  }
    ? Filled<G>
    : F[K] extends Field<infer T>
      ? T
      : never;
} & {
  readonly [K in keyof F as F[K] extends Defaulted<unknown> | { readonly fields: Fields }
    ? never
    : K]?: F[K] extends Field<infer T> ? T : never;
};

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
export function later<F extends Field<unknown>>(inner: F): F {
  return { ...inner, honoured: false };
}

/** What a field is when nothing is said: kubelet's or kube-proxy's default, written as in a document. */
export function or<T>(inner: Field<T>, raw: unknown): Defaulted<T> {
  const fallback = inner.read(raw, [], () => {});
  if (fallback === undefined) throw new CodedError('Internal', `the default ${shown(raw)} is not a value of its field`);
  return { ...inner, fallback };
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

/** Go's pointer types tell 0 from absent. */
export const exactInteger = (min: number, max = 2 ** 31 - 1): Field<number> =>
  field(`an integer from ${min} to ${max}`, (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max ? value : undefined,
  );

/** From 1 on, 0 stands for the default, as in the Go types that cannot tell 0 from absent. */
export const integer = (min: number, max = 2 ** 31 - 1): Field<number> =>
  min > 0 ? zeroIsAbsent(exactInteger(min, max)) : exactInteger(min, max);

export const number = (min: number, max: number): Field<number> =>
  field(`a number from ${min} to ${max}`, (value) =>
    typeof value === 'number' && value >= min && value <= max ? value : undefined,
  );

/** Milliseconds. */
export const exactDuration = (minMs = 0, maxMs = Number.MAX_SAFE_INTEGER): Field<number> => ({
  ...field(`a duration such as 10s or 1m30s${boundsOf(minMs, maxMs)}`, (value) => {
    const ms = typeof value === 'string' ? parseDuration(value) : undefined;
    return ms !== undefined && ms >= minMs && ms <= maxMs ? ms : undefined;
  }),
  show: formatDuration,
});

/** Milliseconds. "0s" stands for the default, which configurations that a program wrote out are full of. */
export const duration = (minMs = 0, maxMs = Number.MAX_SAFE_INTEGER): Field<number> =>
  zeroIsAbsent(exactDuration(minMs, maxMs));

/** Empty text stands for the default. */
export const oneOf = <const T extends string>(...choices: readonly T[]): Field<T> =>
  emptyIsAbsent(
    field(choices.map((choice) => JSON.stringify(choice)).join(' or '), (value) =>
      choices.find((choice) => choice === value),
    ),
  );

export const ip = (): Field<string> =>
  emptyIsAbsent(
    field('an IP address', (value) => (typeof value === 'string' && parseIp(value) !== undefined ? value : undefined)),
  );

/** One CIDR, or two of different families joined by a comma. */
export const cidrList = (): Field<readonly string[]> => ({
  ...field('a CIDR such as 10.0.0.0/16, or one per IP family joined by a comma', (value) => {
    if (typeof value !== 'string') return undefined;
    if (value === '') return [];
    const parts = value.split(',').map((part) => part.trim());
    const families = new Set(parts.map((part) => parseCidr(part)?.family));
    return families.has(undefined) || families.size !== parts.length ? undefined : parts;
  }),
  show: (cidrs: readonly string[]) => cidrs.join(','),
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
    show: (items: readonly T[]) => items.map((entry) => shownBy(item, entry)),
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
    show: (entries: Readonly<Record<string, T>>) =>
      Object.fromEntries(Object.entries(entries).map(([key, entry]) => [key, shownBy(item, entry)])),
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
export function section<F extends Fields>(fields: F): Section<F> {
  return {
    honoured: true,
    fields,
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
        if (!known.honoured && !saysNothing(known, read)) {
          const message = `is ${shown(shownBy(known, read))}: it is known, but not yet honoured`;
          report({ level: 'warning', path: [...path, name], message });
        }
        result[name] = read;
      }
      return result as Values<F>;
    },
    fill: (values) => {
      const result: Record<string, unknown> = {};
      for (const [name, known] of Object.entries(fields)) {
        const given: unknown = (values as Readonly<Record<string, unknown>>)[name];
        const value = filled(known, given);
        if (value !== undefined) result[name] = value;
      }
      return result as Filled<F>;
    },
    show: (values) =>
      Object.fromEntries(
        Object.entries(values).flatMap(([name, value]) => {
          const known = fields[name];
          return known === undefined || value === undefined ? [] : [[name, shownBy(known, value)]];
        }),
      ),
  };
}

function filled(known: Field<unknown>, given: unknown): unknown {
  if (known.fill !== undefined) return (known.fill as (value: unknown) => unknown)(given ?? {});
  return given ?? ('fallback' in known ? known.fallback : undefined);
}

/** Whether a value is what would be there without it. */
function saysNothing(known: Field<unknown>, value: unknown): boolean {
  const shownValue = shownBy(known, value);
  if ('fallback' in known) return isDeepStrictEqual(shownValue, shownBy(known, known.fallback));
  if (known.fill !== undefined)
    return isDeepStrictEqual(shownBy(known, filled(known, value)), shownBy(known, filled(known, undefined)));
  return isEmpty(value);
}

function shownBy(known: Field<unknown>, value: unknown): unknown {
  return known.show === undefined ? value : (known.show as (value: unknown) => unknown)(value);
}

export function isPercentage(value: string): boolean {
  return /^\d+(\.\d+)?%$/.test(value) && Number(value.slice(0, -1)) <= 100;
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Where 0 and "0s" stand for the default. */
export function zeroIsAbsent<T>(inner: Field<T>): Field<T> {
  return { ...inner, read: (value, path, report) => (isZero(value) ? undefined : inner.read(value, path, report)) };
}

/** For Go's strings, which cannot tell empty from absent. */
export function emptyIsAbsent<T>(inner: Field<T>): Field<T> {
  return { ...inner, read: (value, path, report) => (value === '' ? undefined : inner.read(value, path, report)) };
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

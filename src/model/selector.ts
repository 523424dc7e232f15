import { CodedError } from '../kit/errors.ts';
import type { LabelSelector } from './meta.ts';
import { labelValueError, qualifiedNameError } from './names.ts';

/** One requirement of a label selector. `Gt` and `Lt` occur in text selectors and in node affinity only. */
export interface Requirement {
  readonly key: string;
  readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist' | 'Gt' | 'Lt';
  readonly values: readonly string[];
}

/** All must hold; none at all selects everything. */
export type Selector = readonly Requirement[];

type Labels = Readonly<Record<string, string>> | undefined;

export function matches(selector: Selector, labels: Labels): boolean {
  return selector.every((requirement) => holds(requirement, labels));
}

/** `key=value` pairs, as in a Service's selector: an empty set selects nothing there, which is the caller's to know. */
export function matchesSet(set: Readonly<Record<string, string>>, labels: Labels): boolean {
  for (const key in set) if (labelOf(labels, key) !== set[key]) return false;
  return true;
}

/** metav1.LabelSelector. undefined selects nothing, an empty one everything (LabelSelectorAsSelector). */
export function matchesLabelSelector(selector: LabelSelector | undefined, labels: Labels): boolean {
  if (selector === undefined) return false;
  if (!matchesSet(selector.matchLabels ?? {}, labels)) return false;
  return (selector.matchExpressions ?? []).every(({ key, operator, values = [] }) =>
    holds({ key, operator, values }, labels),
  );
}

/**
 * Reads the text form of `?labelSelector=` and `kubectl -l` (apimachinery pkg/labels): `a=b`, `a==b`, `a!=b`, `a`,
 * `!a`, `a in (b,c)`, `a notin (b,c)`, `a>1`, `a<1`, joined by commas. Throws InvalidArgument.
 */
export function parseSelector(text: string): Selector {
  const tokens = tokensOf(text);
  const requirements: Requirement[] = [];
  if (tokens.length === 0) return requirements;
  const reader = new TokenReader(text, tokens);
  for (;;) {
    requirements.push(readRequirement(reader));
    if (reader.done) return requirements;
    reader.expect(',');
  }
}

/** The shortest text that parseSelector reads back. */
export function formatSelector(selector: Selector): string {
  return selector.map(formatRequirement).join(',');
}

/** One requirement of a field selector: `spec.nodeName=a`, `metadata.name!=b`. */
export interface FieldRequirement {
  readonly field: string;
  readonly value: string;
  readonly equal: boolean;
}

/** Reads `?fieldSelector=`; `\,` `\=` and `\\` stand for themselves (apimachinery pkg/fields). Throws InvalidArgument. */
export function parseFieldSelector(text: string): FieldRequirement[] {
  const requirements: FieldRequirement[] = [];
  for (const term of splitUnescaped(text)) {
    if (term === '') continue;
    const match = /^((?:[^\\=!]|\\.)*)(!=|==|=)(.*)$/s.exec(term);
    const [, field = '', operator, value = ''] = match ?? [];
    if (match === null || field === '' || /(?<!\\)=/.test(value)) {
      throw new CodedError(
        'InvalidArgument',
        `field selector ${JSON.stringify(text)}: ${JSON.stringify(term)} is not field=value, field==value or field!=value`,
      );
    }
    requirements.push({ field, value: value.replace(/\\([\\,=])/g, '$1'), equal: operator !== '!=' });
  }
  return requirements;
}

/** `read` gives the object's value of a field; fields that are absent are "". */
export function matchesFields(requirements: readonly FieldRequirement[], read: (field: string) => string): boolean {
  return requirements.every(({ field, value, equal }) => (read(field) === value) === equal);
}

function holds({ key, operator, values }: Requirement, labels: Labels): boolean {
  const value = labelOf(labels, key);
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'Gt':
    case 'Lt': {
      const [bound = ''] = values;
      if (value === undefined || !INTEGER.test(value) || !INTEGER.test(bound)) return false;
      return operator === 'Gt' ? BigInt(value) > BigInt(bound) : BigInt(value) < BigInt(bound);
    }
  }
}

const INTEGER = /^-?\d{1,19}$/;

// A label may be named like something on Object.prototype.
function labelOf(labels: Labels, key: string): string | undefined {
  return labels !== undefined && Object.hasOwn(labels, key) ? labels[key] : undefined;
}

const SYMBOLS = ['==', '!=', '=', '!', '(', ')', ',', '<', '>'];

function tokensOf(text: string): string[] {
  const tokens: string[] = [];
  for (let at = 0; at < text.length; ) {
    if (/\s/.test(text.charAt(at))) {
      at++;
      continue;
    }
    const symbol = SYMBOLS.find((candidate) => text.startsWith(candidate, at));
    const token = symbol ?? /^[^\s=!(),<>]+/.exec(text.slice(at))?.[0] ?? '';
    tokens.push(token);
    at += token.length;
  }
  return tokens;
}

class TokenReader {
  private at = 0;
  private readonly text: string;
  private readonly tokens: readonly string[];

  constructor(text: string, tokens: readonly string[]) {
    this.text = text;
    this.tokens = tokens;
  }

  get done(): boolean {
    return this.at >= this.tokens.length;
  }

  peek(): string | undefined {
    return this.tokens[this.at];
  }

  next(): string | undefined {
    return this.tokens[this.at++];
  }

  expect(symbol: string): void {
    const token = this.next();
    if (token !== symbol) throw this.error(`found ${shown(token)}, expected ${JSON.stringify(symbol)}`);
  }

  /** The next token if it is a word; undefined (and nothing taken) before a symbol or the end. */
  word(): string | undefined {
    const token = this.peek();
    if (token === undefined || SYMBOLS.includes(token)) return undefined;
    this.at++;
    return token;
  }

  error(problem: string): CodedError {
    return new CodedError(
      'InvalidArgument',
      `unable to parse requirement in label selector ${JSON.stringify(this.text)}: ${problem}`,
    );
  }
}

function shown(token: string | undefined): string {
  return token === undefined ? 'the end' : JSON.stringify(token);
}

function readRequirement(reader: TokenReader): Requirement {
  const absent = reader.peek() === '!';
  if (absent) reader.next();
  const key = reader.word();
  if (key === undefined) throw reader.error(`found ${shown(reader.peek())}, expected a label key`);
  const keyError = qualifiedNameError(key);
  if (keyError !== undefined) throw reader.error(`key ${JSON.stringify(key)}: ${keyError}`);
  if (absent) return { key, operator: 'DoesNotExist', values: [] };
  const operator = reader.peek();
  if (operator === undefined || operator === ',') return { key, operator: 'Exists', values: [] };
  reader.next();
  switch (operator) {
    case '=':
    case '==':
      return { key, operator: 'In', values: [labelValue(reader, reader.word() ?? '')] };
    case '!=':
      return { key, operator: 'NotIn', values: [labelValue(reader, reader.word() ?? '')] };
    case '<':
    case '>': {
      const bound = reader.word() ?? '';
      if (!INTEGER.test(bound)) throw reader.error(`${JSON.stringify(bound)} after ${operator} is not an integer`);
      return { key, operator: operator === '>' ? 'Gt' : 'Lt', values: [bound] };
    }
    case 'in':
      return { key, operator: 'In', values: readValues(reader) };
    case 'notin':
      return { key, operator: 'NotIn', values: readValues(reader) };
    default:
      throw reader.error(`found ${shown(operator)}, expected =, ==, !=, in, notin, <, > or a comma`);
  }
}

/** `(a,b,)`: a missing value between commas is the empty string. */
function readValues(reader: TokenReader): string[] {
  reader.expect('(');
  const values = new Set<string>();
  for (;;) {
    values.add(labelValue(reader, reader.word() ?? ''));
    const token = reader.next();
    if (token === ')') return [...values].sort();
    if (token !== ',') throw reader.error(`found ${shown(token)}, expected a comma or ")"`);
  }
}

function labelValue(reader: TokenReader, value: string): string {
  const error = labelValueError(value);
  if (error !== undefined) throw reader.error(`value ${JSON.stringify(value)}: ${error}`);
  return value;
}

function formatRequirement({ key, operator, values }: Requirement): string {
  switch (operator) {
    case 'In':
      return values.length === 1 ? `${key}=${values[0]}` : `${key} in (${values.join(',')})`;
    case 'NotIn':
      return values.length === 1 ? `${key}!=${values[0]}` : `${key} notin (${values.join(',')})`;
    case 'Exists':
      return key;
    case 'DoesNotExist':
      return `!${key}`;
    case 'Gt':
      return `${key}>${values[0] ?? ''}`;
    case 'Lt':
      return `${key}<${values[0] ?? ''}`;
  }
}

function splitUnescaped(text: string): string[] {
  const terms: string[] = [];
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === ',') {
      terms.push(text.slice(start, at));
      start = at + 1;
    }
  }
  terms.push(text.slice(start));
  return terms;
}

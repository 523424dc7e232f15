/** What of the machine's logs is asked for (kubelet_server_journal.go, KEP-2258). */
export interface NodeLogQuery {
  readonly services: readonly string[];
  readonly files: readonly string[];
  readonly options: NodeLogOptions;
}

export interface NodeLogOptions {
  /** Milliseconds since the epoch. */
  readonly sinceMs?: number;
  readonly untilMs?: number;
  readonly lines?: number;
  readonly boot?: number;
  readonly pattern?: string;
}

export interface NodeLogRefusal {
  readonly status: number;
  readonly message: string;
}

const MOST_LINES = 100_000;
const LONGEST_NAME = 256;
const MOST_SERVICES = 4;
const UNSAFE = /[^a-zA-Z\-_.:0-9@]/;
const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:\d\d)$/;

/** undefined: nothing is asked for that concerns this. Refusals are kubelet's in status and words. */
export function parseNodeLogQuery(
  query: URLSearchParams,
): { readonly query: NodeLogQuery } | { readonly refusal: NodeLogRefusal } | undefined {
  const queries = query.getAll('query');
  const files = queries.filter((one) => /[/\\]/.test(one));
  const services = queries.filter((one) => !/[/\\]/.test(one) && one.trim() !== '');
  const wrong: string[] = [];
  if (queries.length > 0 && files.length === 0 && services.length === 0) {
    wrong.push(invalid('query', queries, 'query cannot be empty'));
  }
  const value = <T>(name: string, read: (text: string) => T | string): T | undefined => {
    const text = query.get(name) ?? '';
    if (text === '') return undefined;
    const parsed = read(text);
    if (typeof parsed !== 'string') return parsed;
    wrong.push(invalid(name, text, parsed));
    return undefined;
  };
  const sinceMs = value('sinceTime', timeOf);
  const untilMs = value('untilTime', timeOf);
  const boot = value('boot', integerOf);
  const lines = value('tailLines', integerOf);
  const pattern = query.get('pattern') || undefined;
  if (wrong.length > 0) return { refusal: { status: 400, message: aggregate(wrong) } };
  const options = Object.fromEntries(
    Object.entries({ sinceMs, untilMs, boot, lines, pattern }).filter(([, one]) => one !== undefined),
  ) as NodeLogOptions;
  if (queries.length === 0 && Object.keys(options).length === 0) return undefined;
  return check({ services, files, options }, query.get('untilTime') ?? '');
}

function check(
  query: NodeLogQuery,
  until: string,
): { readonly query: NodeLogQuery } | { readonly refusal: NodeLogRefusal } {
  const { services, files, options } = query;
  const { sinceMs, untilMs, boot, lines, pattern } = options;
  const wrong: string[] = [];
  for (const service of services) {
    if (service.length > LONGEST_NAME) {
      wrong.push(invalid('query', service, `length must be less than ${LONGEST_NAME}`));
    } else if (UNSAFE.test(service)) wrong.push(invalid('query', service, 'input contains unsupported characters'));
  }
  if (services.length > MOST_SERVICES) {
    wrong.push(`query: Too many: ${services.length}: must have at most ${MOST_SERVICES} items`);
  }
  if (files.length === 0 && services.length === 0) wrong.push('query: Required value: cannot be empty with options');
  else if (files.length > 0 && services.length > 0) {
    const both = `[${files.join(' ')}], [${services.join(' ')}]`;
    wrong.push(invalid('query', both, 'cannot specify a file and service'));
  } else if (files.length > 1) wrong.push(invalid('query', files, 'cannot specify more than one file'));
  else if (files.length === 1 && Object.keys(options).length > 0) {
    wrong.push(invalid('query', files, 'cannot specify file with options'));
  }
  if (sinceMs !== undefined && untilMs !== undefined && sinceMs > untilMs) {
    wrong.push(invalid('untilTime', until, 'must be after `sinceTime`'));
  }
  if (boot !== undefined && boot > 0) wrong.push(invalid('boot', boot, 'must be less than 1'));
  if (lines !== undefined && (lines < 0 || lines > MOST_LINES)) {
    wrong.push(invalid('tailLines', lines, `must be between 0 and ${MOST_LINES}, inclusive`));
  }
  const flaw = pattern === undefined ? undefined : flawOf(pattern);
  if (flaw !== undefined) wrong.push(invalid('pattern', pattern ?? '', `error parsing regexp: ${flaw}`));
  return wrong.length > 0 ? { refusal: { status: 406, message: aggregate(wrong) } } : { query };
}

/** What is said of a file that cannot be had. */
export function fileRefusal(file: string, why: string): NodeLogRefusal {
  return { status: 406, message: invalid('query', [file], why) };
}

function timeOf(text: string): number | string {
  const at = RFC3339.test(text) ? Date.parse(text.replace(',', '.')) : Number.NaN;
  return Number.isNaN(at) ? 'invalid time format' : at;
}

/** Go's strconv.Atoi. */
function integerOf(text: string): number | string {
  if (!/^[+-]?\d+$/.test(text)) return `strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`;
  const number = Number(text);
  return Number.isSafeInteger(number) ? number : `strconv.Atoi: parsing ${JSON.stringify(text)}: value out of range`;
}

/**
 * What Go's regexp/syntax would refuse first of all, in its words: pairs that do not match, repetition of nothing, and
 * groups that only PCRE knows. The rest is left to journalctl, which says so itself.
 */
function flawOf(pattern: string): string | undefined {
  let open = 0;
  let repeatable = false;
  for (let at = 0; at < pattern.length; at++) {
    const one = pattern[at] ?? '';
    if (one === '\\') {
      if (at + 1 === pattern.length) return 'trailing backslash at end of expression: ``';
      at++;
      repeatable = true;
    } else if (one === '[') {
      const from = at;
      at = endOfClass(pattern, at);
      if (at < 0) return `missing closing ]: \`${pattern.slice(from)}\``;
      repeatable = true;
    } else if (one === '(') {
      const special = /^\(\?(?!P?<\w+>|[imsU]*(?:-[imsU]+)?[:)])/.exec(pattern.slice(at));
      if (special !== null) return `invalid or unsupported Perl syntax: \`${pattern.slice(at, at + 3)}\``;
      const flags = /^\(\?[imsU]*(?:-[imsU]+)?\)/.exec(pattern.slice(at))?.[0];
      const start = flags ?? /^\(\?(?:P?<\w+>|[imsU-]*:)/.exec(pattern.slice(at))?.[0] ?? '(';
      at += start.length - 1;
      if (flags === undefined) open++;
      repeatable = false;
    } else if (one === ')') {
      if (--open < 0) return `unexpected ): \`${pattern}\``;
      repeatable = true;
    } else if (one === '*' || one === '+' || one === '?') {
      if (!repeatable) return `missing argument to repetition operator: \`${one}\``;
      if (pattern[at + 1] === '?') at++;
      repeatable = false;
    } else repeatable = one !== '|';
  }
  return open > 0 ? `missing closing ): \`${pattern}\`` : undefined;
}

/** The index of the "]" that ends the class which begins at `from`; -1: none does. */
function endOfClass(pattern: string, from: number): number {
  let at = from + 1;
  if (pattern[at] === '^') at++;
  // In the first place it stands for itself.
  if (pattern[at] === ']') at++;
  for (; at < pattern.length; at++) {
    if (pattern[at] === '\\') at++;
    else if (pattern.startsWith('[:', at)) at = Math.max(at, pattern.indexOf(':]', at) + 1);
    else if (pattern[at] === ']') return at;
  }
  return -1;
}

function invalid(path: string, value: string | number | readonly string[], why: string): string {
  return `${path}: Invalid value: ${JSON.stringify(value)}: ${why}`;
}

function aggregate(messages: readonly string[]): string {
  const distinct = [...new Set(messages)];
  return distinct.length === 1 ? (distinct[0] ?? '') : `[${distinct.join(', ')}]`;
}

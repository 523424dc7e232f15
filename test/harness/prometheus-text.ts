/** One sample of an exposition. */
export interface MetricSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
  readonly atMs: number | undefined;
}

export interface ParsedMetrics {
  readonly types: ReadonlyMap<string, string>;
  readonly samples: readonly MetricSample[];
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)/y;
// Prometheus reads numbers with Go's ParseFloat, to which case is all the same.
const VALUE = /^(?:[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|[+-]?inf|nan)$/i;

/**
 * Reads the Prometheus text format 0.0.4 as strictly as Prometheus and promtool do: one HELP and one TYPE before a family's
 * samples, families in one piece, no series twice, histograms complete, the same labels throughout a family. Throws what is
 * wrong with its line.
 */
export function parseMetrics(text: string): ParsedMetrics {
  const types = new Map<string, string>();
  const helped = new Set<string>();
  const closed = new Set<string>();
  const series = new Set<string>();
  const labelNames = new Map<string, string>();
  const samples: MetricSample[] = [];
  let open = '';
  if (text !== '' && !text.endsWith('\n')) throw new Error('the last line has no end');
  for (const [index, line] of text.split('\n').entries()) {
    const wrong = (why: string): Error => new Error(`line ${index + 1}: ${why}: ${line}`);
    const enter = (family: string): void => {
      if (family === open) return;
      if (closed.has(family)) throw wrong(`${family} is not in one piece`);
      if (open !== '') closed.add(open);
      open = family;
    };
    if (line.trim() === '') continue;
    if (line.startsWith('#')) {
      const [, kind, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
      if (kind === undefined || !new RegExp(`^${NAME}$`).test(name)) throw wrong('no HELP and no TYPE');
      enter(name);
      if (kind === 'HELP') {
        if (helped.has(name)) throw wrong('a second HELP');
        if (rest.replace(/\\[\\n]/g, '').includes('\\')) throw wrong('a bad escape');
        helped.add(name);
      } else {
        if (types.has(name)) throw wrong('a second TYPE');
        if (!['counter', 'gauge', 'histogram', 'summary', 'untyped'].includes(rest)) throw wrong('an unknown type');
        types.set(name, rest);
      }
      continue;
    }
    const match = new RegExp(`^(${NAME})(?:\\{(.*)\\})? (\\S+)(?: (-?\\d+))?$`).exec(line);
    if (match === null) throw wrong('no sample');
    const [, name = '', inside = '', number = '', at] = match;
    const family = familyOf(name, types);
    if (family === undefined || !helped.has(family)) throw wrong('no TYPE or no HELP before it');
    enter(family);
    const labels: Record<string, string> = {};
    LABEL.lastIndex = 0;
    while (LABEL.lastIndex < inside.length) {
      const from = LABEL.lastIndex;
      const pair = LABEL.exec(inside);
      if (pair === null) throw wrong(`bad labels at ${from}`);
      const [, key = '', value = ''] = pair;
      if (key in labels) throw wrong(`label ${key} twice`);
      labels[key] = value.replaceAll('\\n', '\n').replaceAll('\\"', '"').replaceAll('\\\\', '\\');
    }
    if (!VALUE.test(number)) throw wrong('no number');
    const value = Number(number.replace(/inf$/i, 'Infinity').replace(/nan/i, 'NaN'));
    if (types.get(family) === 'counter' && value < 0) throw wrong('a counter below 0');
    const names = Object.keys(labels)
      .filter((key) => key !== 'le' && key !== 'quantile')
      .sort()
      .join();
    if ((labelNames.get(family) ?? names) !== names)
      throw wrong(`labels ${names}, others have ${labelNames.get(family)}`);
    labelNames.set(family, names);
    const key = `${name} ${JSON.stringify(Object.entries(labels).sort())}`;
    if (series.has(key)) throw wrong('the series is there twice');
    series.add(key);
    samples.push({ name, labels, value, atMs: at === undefined ? undefined : Number(at) });
  }
  for (const [family, type] of types) {
    if (type !== 'histogram') continue;
    const of = (suffix: string) => samples.filter(({ name }) => name === `${family}${suffix}`);
    const infinite = of('_bucket').filter(({ labels }) => labels['le'] === '+Inf').length;
    if (infinite !== of('_count').length || infinite !== of('_sum').length)
      throw new Error(`${family} is not complete`);
  }
  return { types, samples };
}

function familyOf(name: string, types: ReadonlyMap<string, string>): string | undefined {
  if (types.has(name)) return name;
  const base = name.replace(/_(?:bucket|sum|count)$/, '');
  const type = types.get(base);
  return type === 'histogram' || type === 'summary' ? base : undefined;
}

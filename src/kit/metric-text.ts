/** Writes samples in the Prometheus text format 0.0.4, family by family. */
export class MetricText {
  static readonly contentType = 'text/plain; version=0.0.4; charset=utf-8';
  private readonly families = new Map<string, { readonly head: string; lines: string[] }>();

  /** Samples may be added to families in any order; each family is written in one piece. */
  add(
    family: MetricFamily,
    /** Or the text that `renderLabels` made of them, for labels that many samples have. */
    labels: Readonly<Record<string, string>> | string,
    value: number | undefined,
    /** Milliseconds since the epoch. */
    atMs?: number,
  ): void {
    if (value === undefined) return;
    const { name } = family;
    let entry = this.families.get(name);
    if (entry === undefined) {
      const help = family.help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
      entry = { head: `# HELP ${name} ${help}\n# TYPE ${name} ${family.type}\n`, lines: [] };
      this.families.set(name, entry);
    }
    entry.lines.push(
      `${name}${braced(typeof labels === 'string' ? labels : renderLabels(labels))} ${valueText(value)}${atMs === undefined ? '' : ` ${Math.trunc(atMs)}`}\n`,
    );
  }

  /** In the order of names, as registries write it. */
  text(): string {
    const names = [...this.families.keys()].sort();
    return names.map((name) => `${this.families.get(name)?.head}${this.families.get(name)?.lines.join('')}`).join('');
  }
}

export interface MetricFamily {
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  readonly help: string;
}

/** `a="b",c="d"` */
export function renderLabels(labels: Readonly<Record<string, string>>): string {
  let text = '';
  for (const name in labels) {
    const value = labels[name] ?? '';
    const quoted = /["\\\n]/.test(value)
      ? value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
      : value;
    text += `${text === '' ? '' : ','}${name}="${quoted}"`;
  }
  return text;
}

function braced(labels: string): string {
  return labels === '' ? '' : `{${labels}}`;
}

function valueText(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
}

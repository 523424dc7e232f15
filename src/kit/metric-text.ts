/** A family's text begins in so many bytes and doubles. */
const FIRST_BYTES = 1024;

/**
 * Writes samples in the Prometheus text format 0.0.4, family by family. Each line becomes bytes at once: thousands of
 * short strings that all live until the end cost the garbage collector more than making them.
 */
export class MetricText {
  static readonly contentType = 'text/plain; version=0.0.4; charset=utf-8';
  private readonly families = new Map<string, GrowingText>();

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
    let text = this.families.get(name);
    if (text === undefined) {
      const help = family.help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
      text = new GrowingText();
      text.append(`# HELP ${name} ${help}\n# TYPE ${name} ${family.type}\n`);
      this.families.set(name, text);
    }
    text.append(
      `${name}${braced(typeof labels === 'string' ? labels : renderLabels(labels))} ${valueText(value)}${atMs === undefined ? '' : ` ${Math.trunc(atMs)}`}\n`,
    );
  }

  /** UTF-8, in the order of names, as registries write it. */
  bytes(): Buffer {
    const names = [...this.families.keys()].sort();
    return Buffer.concat(names.flatMap((name) => this.families.get(name)?.written() ?? []));
  }
}

class GrowingText {
  private buffer = Buffer.allocUnsafe(FIRST_BYTES);
  private length = 0;

  append(text: string): void {
    // No unit of UTF-16 takes more than three bytes.
    const needed = this.length + text.length * 3;
    if (needed > this.buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, this.buffer.length * 2));
      this.buffer.copy(larger, 0, 0, this.length);
      this.buffer = larger;
    }
    this.length += this.buffer.write(text, this.length, 'utf8');
  }

  written(): Buffer {
    return this.buffer.subarray(0, this.length);
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

import { type Flag, type FlagTarget, flags } from './flags.ts';
import type { Layer } from './layer.ts';

/** What was given for each flag, by its name without dashes; `true` is a switch that stood alone. */
export type GivenFlags = Readonly<Record<string, string | true | readonly string[]>>;

/** Flags as if they were documents, in the order of the table. */
export function flagLayers(given: GivenFlags): Layer[] {
  const layers: Layer[] = [];
  for (const flag of flags) {
    const value = given[flag.name];
    if (value === undefined) continue;
    const texts = value === true ? ['true'] : typeof value === 'string' ? [value] : value;
    layers.push(layerOf(flag, flag, texts));
    if (flag.also !== undefined) layers.push(layerOf(flag, flag.also, texts));
  }
  return layers;
}

function layerOf(flag: Flag, { kind, path }: FlagTarget, texts: readonly string[]): Layer {
  const content = path.reduceRight<unknown>((inner, part) => ({ [part]: inner }), rawOf(flag, texts));
  // kubelet's maps start anew with the flag; gates are put over the file's, and labels are by flag only.
  const replaces = ['map', 'thresholds', 'headers'].includes(flag.as) && kind === 'KubeletConfiguration';
  return {
    kind,
    content: content as Record<string, unknown>,
    where: (at) => {
      const inside = at.slice(path.length).join('.');
      return `--${flag.name}:${inside === '' ? '' : ` ${inside}`}`;
    },
    ...(replaces ? { replaces: path } : {}),
  };
}

/** The value as it would stand in YAML. What cannot be converted stays text, and its field says what it expects. */
function rawOf({ as }: Flag, texts: readonly string[]): unknown {
  const last = texts.at(-1) ?? '';
  switch (as) {
    case 'text':
      return last;
    case 'integer':
      return /^[-+]?(\d+|0[xX][\da-fA-F]+)$/.test(last) ? Number(last) : last;
    case 'number':
      return last.trim() !== '' && Number.isFinite(Number(last)) ? Number(last) : last;
    case 'boolean':
      return booleanOf(last);
    case 'list':
      return texts.flatMap(partsOf);
    case 'map':
      return pairsOf(texts, '=');
    case 'thresholds':
      return pairsOf(texts, '<');
    case 'gates':
      return Object.fromEntries(
        texts.flatMap(partsOf).map((part) => {
          const [gate, value] = splitAt(part, '=');
          return [gate, booleanOf(value)];
        }),
      );
    case 'headers': {
      const headers: Record<string, string[]> = {};
      for (const part of texts.flatMap(partsOf)) {
        const [name, value] = splitAt(part, ':');
        headers[name] = [...(headers[name] ?? []), value];
      }
      return headers;
    }
    case 'taints':
      return partsOf(last).map((part) => {
        const [key, effect] = splitAt(part, ':');
        const [name, value] = splitAt(key, '=');
        return { key: name, effect, ...(value === '' ? {} : { value }) };
      });
    case 'memory':
      return texts
        .flatMap((text) => text.split(';'))
        .filter((part) => part !== '')
        .map((part) => {
          const [node, limits] = splitAt(part, ':');
          return { numaNode: /^\d+$/.test(node) ? Number(node) : node, limits: pairsOf([limits], '=') };
        });
  }
}

/** Go's strconv.ParseBool. */
function booleanOf(text: string): unknown {
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  return /^(0|f|F|FALSE|false|False)$/.test(text) ? false : text;
}

function pairsOf(texts: readonly string[], separator: string): Record<string, string> {
  return Object.fromEntries(texts.flatMap(partsOf).map((part) => splitAt(part, separator)));
}

function partsOf(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

function splitAt(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at === -1 ? [text, ''] : [text.slice(0, at).trim(), text.slice(at + 1).trim()];
}

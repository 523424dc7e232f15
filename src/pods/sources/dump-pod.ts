import { CodedError } from '../../kit/errors.ts';
import { type GoQuantity, goQuantity, roundedToMilli, zeroGoQuantity } from './go-quantity.ts';
import { podGoStrings, podGoTypes } from './pod-go-types.ts';

type Json = Readonly<Record<string, unknown>>;

interface GoField {
  readonly name: string;
  readonly type: string;
  /** The key in JSON; undefined: the fields of the struct stand in the JSON of the one that embeds it. */
  readonly json: string | undefined;
}

const HOST_FIELDS = ['hostNetwork', 'hostPID', 'hostIPC', 'shareProcessNamespace', 'hostUsers'];
const TIME_ZERO = '{Time:(time.Time){wall:(uint64)0 ext:(int64)0 loc:(*time.Location)<nil>}}';
const RESOURCE_LIST = 'core.ResourceList';
const QUANTITIES = 'map[core.ResourceName]resource.Quantity';

/**
 * Writes a pod as Go's spew does with kubelet's settings for hashes (k8s.io/utils/dump ForHash): every field with its
 * type, absent ones as nil or zero, maps sorted. Made once, for a few manifests, then dropped.
 */
export class PodDumper {
  private readonly structs = parseTypes();
  private readonly strings = new Set(podGoStrings.trim().split(/\s+/).map(qualified));

  /**
   * `pod` is JSON of v1 with kubelet's defaults, without nulls, its quantities as they were written. Throws
   * Unimplemented for what no manifest has: times, managedFields, a status with content.
   */
  dump(pod: Json): string {
    return this.typed('*core.Pod', internal(pod));
  }

  private typed(type: string, value: unknown): string {
    return `(${type})${this.plain(type, value)}`;
  }

  private plain(type: string, value: unknown): string {
    if (type.startsWith('*')) return value === undefined ? '<nil>' : this.plain(type.slice(1), value);
    if (type === RESOURCE_LIST) {
      return value === undefined
        ? '<nil>'
        : this.map(value as Json, (item) => quantityText(roundedToMilli(read(item))));
    }
    if (type.startsWith('[]')) {
      if (value === undefined) return '<nil>';
      const item = type.slice(2);
      return `[${(value as readonly unknown[]).map((entry) => this.plain(item, entry)).join(' ')}]`;
    }
    if (type.startsWith('map[')) {
      if (value === undefined) return '<nil>';
      if (type === QUANTITIES) return this.map(value as Json, (item) => quantityText(read(item)));
      const item = type.slice(type.indexOf(']') + 1);
      return this.map(value as Json, (entry) => this.plain(item, entry));
    }
    if (type === 'string' || this.strings.has(type)) return value === undefined ? '' : String(value);
    switch (type) {
      case 'bool':
        return value === true ? 'true' : 'false';
      case 'int32':
      case 'int64':
        return String(value ?? 0);
      case 'resource.Quantity':
        return quantityText(read(value));
      case 'intstr.IntOrString':
        return intOrStringText(value);
      case 'v1.Time':
        if (value !== undefined) throw new CodedError('Unimplemented', `a time in a manifest: ${String(value)}`);
        return TIME_ZERO;
      default:
        return this.struct(type, value as Json | undefined);
    }
  }

  private struct(type: string, value: Json | undefined): string {
    const fields = this.structs.get(type);
    if (fields === undefined) throw new CodedError('Unimplemented', `a manifest with a ${type}`);
    const parts = fields.map((field) => {
      const inner = field.json === undefined ? value : value?.[field.json];
      return `${field.name}:${this.typed(field.type, inner)}`;
    });
    return `{${parts.join(' ')}}`;
  }

  private map(value: Json, text: (item: unknown) => string): string {
    // Go compares bytes, JavaScript UTF-16 units: they differ above U+FFFF only, which keys cannot have.
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `map[${entries.map(([key, item]) => `${key}:${text(item)}`).join(' ')}]`;
  }
}

/** As the internal version has it: no type, the host's namespaces in the security context, one name for the account. */
function internal(pod: Json): Json {
  const { apiVersion: _apiVersion, kind: _kind, ...rest } = pod;
  const spec = pod['spec'] as Json;
  const host = Object.fromEntries(
    HOST_FIELDS.flatMap((name) => (spec[name] === undefined ? [] : [[name, spec[name]]])),
  );
  const account = spec['serviceAccountName'] || spec['serviceAccount'];
  const grace = spec['terminationGracePeriodSeconds'];
  return {
    ...rest,
    spec: {
      ...spec,
      ...(account === undefined ? {} : { serviceAccountName: account }),
      ...(typeof grace === 'number' && grace < 0 ? { terminationGracePeriodSeconds: 1 } : {}),
      securityContext: { ...(spec['securityContext'] as Json | undefined), ...host },
    },
  };
}

function read(value: unknown): GoQuantity {
  return value === undefined ? zeroGoQuantity : goQuantity(String(value).trim());
}

function quantityText({ value, scale, decimal, text, format }: GoQuantity): string {
  const dec =
    decimal === undefined
      ? '<nil>'
      : `{unscaled:(big.Int)${bigText(decimal.unscaled)} scale:(inf.Scale)${decimal.scale}}`;
  return `{i:(resource.int64Amount){value:(int64)${value} scale:(resource.Scale)${scale}} d:(resource.infDecAmount){Dec:(*inf.Dec)${dec}} s:(string)${text} Format:(resource.Format)${format}}`;
}

function bigText(value: bigint): string {
  const words: bigint[] = [];
  for (let rest = value < 0n ? -value : value; rest > 0n; rest >>= 64n) words.push(rest & ((1n << 64n) - 1n));
  return `{neg:(bool)${value < 0n} abs:(big.nat)${words.length === 0 ? '<nil>' : `[${words.join(' ')}]`}}`;
}

function intOrStringText(value: unknown): string {
  const text = typeof value === 'string';
  return `{Type:(intstr.Type)${text ? 1 : 0} IntVal:(int32)${text ? 0 : (value ?? 0)} StrVal:(string)${text ? value : ''}}`;
}

function parseTypes(): ReadonlyMap<string, readonly GoField[]> {
  const types = new Map<string, readonly GoField[]>();
  for (const [, name = '', body = ''] of podGoTypes.matchAll(/^(\S+) \{([^}]*)\}/gm)) {
    types.set(qualified(name), body.split(';').map(parseField));
  }
  return types;
}

function parseField(text: string): GoField {
  const [name = '', type = '', json] = text.trim().split(' ');
  const key = json ?? `${name.charAt(0).toLowerCase()}${name.slice(1)}`;
  // ResourceName occurs as the key of a map: map[ResourceName]resource.Quantity.
  return { name, type: qualified(type), json: key === '^' ? undefined : key };
}

/** "[]Container" → "[]core.Container"; what has a package, and what Go has built in, stays as it is. */
function qualified(type: string): string {
  return type.replace(/(^|[\]*[])([A-Z]\w*)(?![\w.])/g, '$1core.$2');
}

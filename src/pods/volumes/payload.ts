import { CodedError } from '../../kit/errors.ts';
import type { ConfigMap, Secret } from '../../model/objects.ts';
import type { KeyToPath } from '../../model/pod.ts';

export interface PayloadFile {
  readonly data: Buffer;
  readonly mode: number;
  /** The file's owner; root when absent. */
  readonly uid?: number;
}

/** Files by their path below the volume's root. */
export type Payload = ReadonlyMap<string, PayloadFile>;

const PATH_BYTES = 4096;
const NAME_BYTES = 255;

/** Collects files of one volume: of two with the same path the later counts; a file and a directory cannot share one. */
export class PayloadBuilder {
  private readonly files = new Map<string, PayloadFile>();
  private readonly claimed = new Set<string>();

  /**
   * `explicit` paths are those that the pod's author wrote; two of the same are a mistake. Throws InvalidObject.
   */
  add(path: string, file: PayloadFile, explicit = false): void {
    const clean = cleanPath(path);
    if (explicit) {
      if (this.claimed.has(clean)) throw conflict(path, 'is used twice');
      this.claimed.add(clean);
    }
    this.files.set(clean, file);
  }

  build(): Payload {
    for (const path of this.files.keys()) {
      for (let slash = path.indexOf('/'); slash !== -1; slash = path.indexOf('/', slash + 1)) {
        const above = path.slice(0, slash);
        if (this.files.has(above)) throw conflict(path, `needs a directory where ${above} is a file`);
      }
    }
    return this.files;
  }
}

/** The files of a ConfigMap: all keys, or those that `items` chooses. Throws InvalidObject for an absent key. */
export function addConfigMap(
  builder: PayloadBuilder,
  configMap: ConfigMap,
  source: { readonly items?: readonly KeyToPath[]; readonly optional?: boolean },
  mode: number,
): void {
  const { data = {}, binaryData = {} } = configMap;
  const read = (key: string): Buffer | undefined => {
    if (Object.hasOwn(data, key)) return Buffer.from(data[key] ?? '', 'utf8');
    return Object.hasOwn(binaryData, key) ? Buffer.from(binaryData[key] ?? '', 'base64') : undefined;
  };
  addKeys(builder, { keys: [...Object.keys(data), ...Object.keys(binaryData)], read, kind: 'config' }, source, mode);
}

/** The files of a Secret, likewise. */
export function addSecret(
  builder: PayloadBuilder,
  secret: Secret,
  source: { readonly items?: readonly KeyToPath[]; readonly optional?: boolean },
  mode: number,
): void {
  const { data = {} } = secret;
  const read = (key: string): Buffer | undefined =>
    Object.hasOwn(data, key) ? Buffer.from(data[key] ?? '', 'base64') : undefined;
  addKeys(builder, { keys: Object.keys(data), read, kind: 'secret' }, source, mode);
}

interface Keys {
  readonly keys: readonly string[];
  readonly read: (key: string) => Buffer | undefined;
  readonly kind: 'config' | 'secret';
}

function addKeys(
  builder: PayloadBuilder,
  { keys, read, kind }: Keys,
  source: { readonly items?: readonly KeyToPath[]; readonly optional?: boolean },
  mode: number,
): void {
  if (source.items === undefined || source.items.length === 0) {
    for (const key of keys) builder.add(key, { data: read(key) ?? Buffer.alloc(0), mode });
    return;
  }
  for (const item of source.items) {
    const data = read(item.key);
    if (data !== undefined) builder.add(item.path, { data, mode: item.mode ?? mode }, true);
    else if (source.optional !== true) {
      const whose = kind === 'config' ? 'configmap references' : 'references';
      throw new CodedError('NotFound', `${whose} non-existent ${kind} key: ${item.key}`, { key: item.key });
    }
  }
}

/** A path below a volume's root in its shortest spelling (pkg/volume/util/atomic_writer.go validatePath). */
function cleanPath(path: string): string {
  const invalid = (why: string): CodedError =>
    new CodedError('InvalidObject', `invalid path ${JSON.stringify(path)}: ${why}`, { path });
  if (path === '') throw invalid('must not be empty');
  if (path.startsWith('/')) throw invalid('must be relative');
  if (path.includes('\0')) throw invalid('must not contain a zero byte');
  if (Buffer.byteLength(path) > PATH_BYTES) throw invalid(`must be at most ${PATH_BYTES} bytes`);
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  const [first] = parts;
  if (first === undefined) throw invalid('must name a file');
  if (parts.includes('..')) throw invalid("must not contain '..'");
  if (first.startsWith('..')) throw invalid('must not start with ".."');
  if (parts.some((part) => Buffer.byteLength(part) > NAME_BYTES)) {
    throw invalid(`each part must be at most ${NAME_BYTES} bytes`);
  }
  return parts.join('/');
}

function conflict(path: string, why: string): CodedError {
  return new CodedError('InvalidObject', `conflicting path ${JSON.stringify(path)}: it ${why}`, { path });
}

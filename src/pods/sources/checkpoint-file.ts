import { randomBytes } from 'node:crypto';
import { dirname } from 'node:path';
import type { Files } from '../../host/files/port.ts';
import { CodedError, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { KubeObject } from '../../model/meta.ts';
import type { Pod } from '../../model/pod.ts';
import type { Service } from '../../model/service.ts';
import { seal, unseal } from './sealed-text.ts';

/** What a node needs to start its pods again without the API. */
export interface Checkpoint {
  readonly pods: readonly Pod[];
  /** The ConfigMaps and Secrets that they read, their claims and volumes, and this node's labels; each with its kind. */
  readonly objects: readonly KubeObject[];
  /** Of the pods' namespaces, for the environment of containers. */
  readonly services: readonly Service[];
  readonly tokens: readonly StoredToken[];
}

export interface StoredToken {
  /** What was asked for, as text. */
  readonly key: string;
  readonly podUid: string;
  readonly token: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

export interface CheckpointFileOptions {
  readonly path: string;
  /** A file of this node's own, made when it is missing; in another folder than `path`. */
  readonly keyPath: string;
  /** A key given from outside (a systemd credential), which goes before `keyPath`. */
  readonly credentialPath: string | undefined;
  readonly nodeName: string;
}

const VERSION = 1;
/** Of its text; what is larger is not written, and not read. */
const MAX_BYTES = 64 * 1024 * 1024;
const KEY_BYTES = 32;
const LEAST_KEY_BYTES = 16;

/**
 * The checkpoint on disk: encrypted (AES-256-GCM), replaced as a whole, with the one before it kept in case that a power
 * failure cut the last write off. Nothing that is wrong with it stops the node.
 */
export class CheckpointFile {
  private readonly options: CheckpointFileOptions;
  private readonly files: Pick<Files, 'read' | 'write' | 'rename' | 'stat' | 'remove' | 'makeDirectory' | 'lstat'>;
  private readonly log: Logger;

  constructor(options: CheckpointFileOptions, deps: { readonly files: CheckpointFile['files']; readonly log: Logger }) {
    this.options = options;
    this.files = deps.files;
    this.log = deps.log;
  }

  /** undefined when there is none that can be used; why is logged. */
  async load(): Promise<Checkpoint | undefined> {
    for (const path of [this.options.path, this.previous]) {
      try {
        if ((await this.files.stat(path)) === undefined) continue;
        return await this.open(path);
      } catch (error) {
        this.log.warn(
          { path, error: messageOf(error) },
          'a checkpoint of the pods cannot be used; going on without it',
        );
      }
    }
    return undefined;
  }

  /** Throws ResourceExhausted when it would be too large. */
  async save(checkpoint: Checkpoint): Promise<void> {
    const { path, nodeName } = this.options;
    const text = JSON.stringify({ version: VERSION, node: nodeName, ...checkpoint });
    if (Buffer.byteLength(text) > MAX_BYTES) {
      throw new CodedError('ResourceExhausted', `a checkpoint of the pods would have more than ${MAX_BYTES} bytes`);
    }
    await this.files.makeDirectory(dirname(path), 0o700);
    const fresh = `${path}.new`;
    await this.files.remove(fresh);
    await this.files.write(fresh, await seal(text, await this.secret(true)), 0o600);
    if ((await this.files.stat(path)) !== undefined) await this.files.rename(path, this.previous);
    await this.files.rename(fresh, path);
  }

  private get previous(): string {
    return `${this.options.path}.previous`;
  }

  private async open(path: string): Promise<Checkpoint> {
    const sealed = await this.files.read(path, { maxBytes: MAX_BYTES, noFollow: true });
    const text = await unseal(sealed, await this.secret(false), MAX_BYTES);
    const found = JSON.parse(text) as Partial<Checkpoint> & { version?: number; node?: string };
    if (found.version !== VERSION) {
      throw new CodedError('InvalidObject', `has version ${found.version}, this deckhand reads ${VERSION}`);
    }
    const { nodeName } = this.options;
    if (found.node !== nodeName) {
      throw new CodedError('InvalidObject', `is of the node ${JSON.stringify(found.node)}, this is ${nodeName}`);
    }
    const { pods = [], objects = [], services = [], tokens = [] } = found;
    return { pods, objects, services, tokens };
  }

  private async secret(make: boolean): Promise<Buffer> {
    const { credentialPath, keyPath } = this.options;
    const path = credentialPath ?? keyPath;
    const info = await this.files.lstat(path);
    if (info === undefined && make && credentialPath === undefined) {
      await this.files.makeDirectory(dirname(keyPath), 0o700);
      await this.files.write(keyPath, randomBytes(KEY_BYTES), 0o600);
    }
    if (info !== undefined && credentialPath === undefined && (info.mode & 0o077) !== 0) {
      throw new CodedError('Forbidden', `${keyPath} has mode ${(info.mode & 0o777).toString(8)}; 600 is needed`);
    }
    const secret = await this.files.read(path, { maxBytes: 4096 });
    if (secret.length < LEAST_KEY_BYTES) {
      throw new CodedError(
        'InvalidObject',
        `${path} has ${secret.length} bytes; a key needs ${LEAST_KEY_BYTES} at least`,
      );
    }
    return secret;
  }
}

import { createHash } from 'node:crypto';
import type { Files } from '../../host/files/port.ts';
import { CodedError, hasCode } from '../../kit/errors.ts';
import type { ObjectCoordinates } from './keyring.ts';

/** Who has proved to have access to an image under one name (kubelet.config.k8s.io/v1beta1 ImagePullCredentials). */
export interface PullAccess {
  readonly kubernetesSecrets?: readonly (ObjectCoordinates & { readonly credentialHash: string })[];
  readonly kubernetesServiceAccounts?: readonly ObjectCoordinates[];
  /** Pulled without credentials or with the node's own: any pod of this node may use it. */
  readonly nodePodsAccessible?: boolean;
}

/** kubelet.config.k8s.io/v1beta1 ImagePulledRecord. */
export interface PulledRecord {
  /** RFC 3339. */
  readonly lastUpdatedTime: string;
  /** The runtime's own name of the image, usually the digest of its configuration. */
  readonly imageRef: string;
  /** By the image's name as pods write it, without tag and digest. */
  readonly credentialMapping: Readonly<Record<string, PullAccess>>;
}

const VERSIONS = ['kubelet.config.k8s.io/v1beta1', 'kubelet.config.k8s.io/v1alpha1'] as const;
const PREFIX = 'sha256-';
const TEMPORARY = '.tmp';
const LARGEST_BYTES = 16 << 20;

/**
 * kubelet's files about image pulls, `<root>/image_manager/{pulling,pulled}/sha256-…`, so that either agent goes on where
 * the other stopped (pkg/kubelet/images/pullmanager/fs_pullrecords.go). Each is replaced as a whole.
 */
export class PullRecords {
  private readonly files: Files;
  private readonly pulling: string;
  private readonly pulled: string;

  constructor(options: { readonly rootDirectory: string }, deps: { readonly files: Files }) {
    this.files = deps.files;
    this.pulling = `${options.rootDirectory}/image_manager/pulling`;
    this.pulled = `${options.rootDirectory}/image_manager/pulled`;
  }

  async writeIntent(image: string): Promise<void> {
    await this.write(this.pulling, image, { kind: 'ImagePullIntent', apiVersion: VERSIONS[0], image });
  }

  async hasIntent(image: string): Promise<boolean> {
    return (await this.read(this.pulling, fileName(image), 'ImagePullIntent'))?.['image'] === image;
  }

  removeIntent(image: string): Promise<void> {
    return this.files.remove(`${this.pulling}/${fileName(image)}`);
  }

  /** The images that a pull was begun of and never ended; unreadable files are left out. */
  async intents(): Promise<string[]> {
    const images: string[] = [];
    for (const name of await this.names(this.pulling)) {
      const intent = await this.readable(this.pulling, name, 'ImagePullIntent');
      if (typeof intent?.['image'] === 'string') images.push(intent['image']);
    }
    return images;
  }

  /** undefined when there is none. Throws InvalidObject for a file that cannot be understood. */
  async get(imageRef: string): Promise<PulledRecord | undefined> {
    const found = await this.read(this.pulled, fileName(imageRef), 'ImagePulledRecord');
    return found?.['imageRef'] === imageRef ? pulledRecordOf(found) : undefined;
  }

  async put(record: PulledRecord): Promise<void> {
    const head = { kind: 'ImagePulledRecord', apiVersion: VERSIONS[0] };
    await this.write(this.pulled, record.imageRef, { ...head, ...record });
  }

  remove(imageRef: string): Promise<void> {
    return this.files.remove(`${this.pulled}/${fileName(imageRef)}`);
  }

  /** All that can be read, one at a time. */
  async *all(): AsyncGenerator<PulledRecord> {
    for (const name of await this.names(this.pulled)) {
      const found = await this.readable(this.pulled, name, 'ImagePulledRecord');
      if (found !== undefined) yield pulledRecordOf(found);
    }
  }

  /** How many there are on disk. */
  async counts(): Promise<{ readonly intents: number; readonly records: number }> {
    return { intents: (await this.names(this.pulling)).length, records: (await this.names(this.pulled)).length };
  }

  private async names(directory: string): Promise<string[]> {
    const names = (await this.files.list(directory)) ?? [];
    return names.filter((name) => name.startsWith(PREFIX) && !name.endsWith(TEMPORARY));
  }

  private async write(directory: string, subject: string, content: object): Promise<void> {
    await this.files.makeDirectory(directory, 0o700);
    const path = `${directory}/${fileName(subject)}`;
    await this.files.write(`${path}${TEMPORARY}`, `${JSON.stringify(content)}\n`, 0o600);
    await this.files.rename(`${path}${TEMPORARY}`, path);
  }

  private async readable(directory: string, name: string, kind: string): Promise<Record<string, unknown> | undefined> {
    try {
      return await this.read(directory, name, kind);
    } catch (error) {
      if (hasCode(error, 'InvalidObject')) return undefined;
      throw error;
    }
  }

  private async read(directory: string, name: string, kind: string): Promise<Record<string, unknown> | undefined> {
    const path = `${directory}/${name}`;
    let text: string;
    try {
      text = (await this.files.read(path, { maxBytes: LARGEST_BYTES })).toString('utf8');
    } catch (error) {
      if (hasCode(error, 'NotFound')) return undefined;
      throw error;
    }
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      value = undefined;
    }
    const found = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
    if (found['kind'] === kind && VERSIONS.some((version) => version === found['apiVersion'])) return found;
    throw new CodedError('InvalidObject', `${path} is not an ${kind} of ${VERSIONS.join(' or ')}`, { path });
  }
}

function fileName(subject: string): string {
  return `${PREFIX}${createHash('sha256').update(subject).digest('hex')}`;
}

function pulledRecordOf(found: Record<string, unknown>): PulledRecord {
  const { lastUpdatedTime, imageRef, credentialMapping } = found as Partial<PulledRecord>;
  return {
    lastUpdatedTime: lastUpdatedTime ?? '',
    imageRef: imageRef ?? '',
    credentialMapping: credentialMapping ?? {},
  };
}

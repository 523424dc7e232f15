import type { Stats } from 'node:fs';
import { lstat, mkdir, open, readdir, readFile, rename, rm, symlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { CodedError, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import { type CertificatePair, certificatePair } from './certificate-pair.ts';

export interface CertificateStoreOptions {
  /** kubelet's --cert-dir. */
  readonly directory: string;
  readonly prefix: 'kubelet-client' | 'kubelet-server';
}

/** What a write that was cut off leaves behind; never a name that anybody reads. */
const UNFINISHED = '.new';

/**
 * Certificates with their keys on disk, as kubelet lays them out (client-go util/certificate/certificate_store.go):
 * PREFIX-DATE.pem for each pair, and the link PREFIX-current.pem to the one in use. A pair becomes current by one
 * rename, so that a crash at any moment leaves the old or the new one.
 */
export class CertificateStore {
  private readonly options: CertificateStoreOptions;
  private readonly log: Logger;

  constructor(options: CertificateStoreOptions, deps: { readonly log: Logger }) {
    this.options = options;
    this.log = deps.log;
  }

  /** Named in kubeconfig files. */
  get currentPath(): string {
    return this.path('current');
  }

  /**
   * The pair in use; else PREFIX.crt and PREFIX.key, where somebody put them; else undefined. What cannot be used is
   * told in the log and counts as none, for a new one can be asked for.
   */
  async load(): Promise<CertificatePair | undefined> {
    await this.recover();
    const base = join(this.options.directory, this.options.prefix);
    return (await this.read(this.currentPath, this.currentPath)) ?? (await this.read(`${base}.crt`, `${base}.key`));
  }

  /** Makes a pair the current one. `now` names its file. Throws InvalidConfig when PREFIX-current.pem is no link. */
  async save(pair: CertificatePair, now: number): Promise<void> {
    const { directory } = this.options;
    await mkdir(directory, { recursive: true, mode: 0o755 });
    const current = await statOrNone(this.currentPath);
    if (current !== undefined && !current.isSymbolicLink()) {
      throw new CodedError('InvalidConfig', `expected "${this.currentPath}" to be a symlink but it is a file`);
    }
    const file = this.path(stamp(now));
    await writeDurably(file, pair.cert + pair.key);
    await this.dropUpdated();
    await symlink(resolve(file), this.path('updated'));
    await rename(this.path('updated'), this.currentPath);
    await syncDirectory(directory);
  }

  /** A crash of kubelet's own, which takes the old link away before it puts the new one there. */
  private async recover(): Promise<void> {
    const { directory, prefix } = this.options;
    for (const name of await readdir(directory).catch(() => [])) {
      if (name.startsWith(prefix) && name.endsWith(UNFINISHED)) await rm(join(directory, name), { force: true });
    }
    if ((await statOrNone(this.currentPath)) !== undefined) return;
    const updated = await statOrNone(this.path('updated'));
    if (updated?.isSymbolicLink()) await rename(this.path('updated'), this.currentPath);
  }

  private async dropUpdated(): Promise<void> {
    const updated = await statOrNone(this.path('updated'));
    if (updated !== undefined && !updated.isSymbolicLink()) {
      throw new CodedError('InvalidConfig', `expected "${this.path('updated')}" to be a symlink but it is a file`);
    }
    await rm(this.path('updated'), { force: true });
  }

  private async read(certificatePath: string, keyPath: string): Promise<CertificatePair | undefined> {
    try {
      return certificatePair(await readFile(certificatePath, 'utf8'), await readFile(keyPath, 'utf8'));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
        const link = await statOrNone(certificatePath);
        if (link === undefined) return undefined;
      }
      this.log.warn(
        { file: certificatePath, error: messageOf(error) },
        'a certificate file cannot be used; going on as if it were not there',
      );
      return undefined;
    }
  }

  private path(qualifier: string): string {
    return join(this.options.directory, `${this.options.prefix}-${qualifier}.pem`);
  }
}

/**
 * Writes a file that only its owner may read, whole or not at all, whatever happens to the machine meanwhile. Makes the
 * directory if need be.
 */
export async function writeDurably(path: string, text: string): Promise<void> {
  const directory = join(path, '..');
  await mkdir(directory, { recursive: true, mode: 0o755 });
  const unfinished = `${path}${UNFINISHED}`;
  await rm(unfinished, { force: true });
  const file = await open(unfinished, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(unfinished, path);
  await syncDirectory(directory);
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

async function statOrNone(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** 2026-11-23-09-30-00, local time as kubelet's. */
function stamp(ms: number): string {
  const at = new Date(ms);
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day}-${two(at.getHours())}-${two(at.getMinutes())}-${two(at.getSeconds())}`;
}

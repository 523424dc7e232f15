import { CodedError } from '../../kit/errors.ts';
import { holderOf } from './holder.ts';
import { isAtOrBelow, type MountEntry } from './mount-info.ts';
import type { MountRequest, Mounts, TmpfsOptions } from './port.ts';
import { isRemoteType } from './remote-types.ts';

export interface FakeMountsOptions {
  /** Whether a path is there; mounts on or from absent ones are refused. */
  readonly exists: (path: string) => Promise<boolean>;
  /** Why a filesystem cannot be mounted, as its helper program would say; undefined: it can. */
  readonly refuses?: (request: MountRequest) => string | undefined;
}

/** A mount table in memory: order, stacking, busy parents and refusals as the kernel has them. */
export class FakeMounts implements Mounts {
  private readonly entries: MountEntry[] = [
    entry(1, 0, '/', { options: 'rw,relatime', type: 'ext4', source: '/dev/root', superOptions: 'rw' }),
  ];
  private readonly busy = new Set<string>();
  private nextId = 2;
  private readonly options: FakeMountsOptions;

  constructor(options: FakeMountsOptions) {
    this.options = options;
  }

  async list(below = '/'): Promise<MountEntry[]> {
    return this.entries.filter(({ mountPoint }) => isAtOrBelow(mountPoint, below));
  }

  async isRemote(path: string): Promise<boolean> {
    return isRemoteType(holderOf(this.entries, path).type);
  }

  async tmpfs(target: string, options: TmpfsOptions): Promise<void> {
    await this.mustExist(target);
    const size = options.sizeBytes === undefined ? '' : `,size=${options.sizeBytes / 1024}k`;
    const gid = options.gid === undefined ? '' : `,gid=${options.gid}`;
    const superOptions = `rw${size},mode=${options.mode.toString(8)}${gid}`;
    this.add(target, {
      options: options.restricted === true ? 'rw,nosuid,nodev,relatime' : 'rw,relatime',
      type: 'tmpfs',
      source: options.name,
      superOptions,
    });
  }

  async mount(request: MountRequest): Promise<void> {
    const { type, source, target, options } = request;
    await this.mustExist(target);
    const refusal = this.options.refuses?.(request);
    if (refusal !== undefined) {
      const args = ['-t', type, ...(options.length === 0 ? [] : ['-o', options.join(',')]), source, target].join(' ');
      throw new CodedError(
        'CommandFailed',
        `mount failed: exit status 32\nMounting command: mount\nMounting arguments: ${args}\nOutput: ${refusal}`,
      );
    }
    const access = options.includes('ro') ? 'ro' : 'rw';
    this.add(target, { options: `${access},relatime`, type, source, superOptions: [access, ...options].join(',') });
  }

  async bind(source: string, target: string): Promise<void> {
    await this.mustExist(source);
    await this.mustExist(target);
    const from = this.holderOf(source);
    const root = from.mountPoint === '/' ? source : from.root + source.slice(from.mountPoint.length);
    this.add(target, { ...from, root: root.replace(/^\/\//, '/') });
  }

  async remountReadOnly(target: string): Promise<void> {
    const index = this.topmost(target);
    const found = this.entries[index];
    if (found === undefined) throw new CodedError('CommandFailed', `mount: ${target}: mount point not mounted`);
    this.entries[index] = { ...found, options: found.options.replace(/^rw/, 'ro') };
  }

  async shareRecursively(target: string): Promise<void> {
    if (this.topmost(target) === -1) await this.bind(target, target);
    for (const [index, found] of this.entries.entries()) {
      if (!isAtOrBelow(found.mountPoint, target)) continue;
      const shared = found.propagation.some((field) => field.startsWith('shared:'));
      if (!shared) this.entries[index] = { ...found, propagation: [...found.propagation, `shared:${found.id}`] };
    }
  }

  async unmount(target: string, options: { readonly lazy?: boolean } = {}): Promise<void> {
    const found = this.entries[this.topmost(target)];
    if (found === undefined) return;
    const children = this.entries.filter(({ parentId }) => parentId === found.id);
    const isBusy = children.length > 0 || this.busy.has(target);
    if (isBusy && options.lazy !== true) throw new CodedError('Conflict', `umount: ${target}: target is busy.`);
    this.drop(found);
  }

  /** The path that is bind-mounted at a target, for a fake filesystem below. */
  boundAt(target: string): string | undefined {
    const found = this.entries[this.topmost(target)];
    return found !== undefined && target !== '/' && found.type === 'ext4' ? found.root : undefined;
  }

  /** Holds a mount as an open file would. */
  holdBusy(target: string): void {
    this.busy.add(target);
  }

  private drop(found: MountEntry): void {
    for (const child of this.entries.filter(({ parentId }) => parentId === found.id)) this.drop(child);
    this.entries.splice(this.entries.indexOf(found), 1);
  }

  private add(target: string, like: Partial<MountEntry>): void {
    const parent = this.holderOf(target);
    this.entries.push(entry(this.nextId++, parent.id, target, like));
  }

  /** The mount that a path lies on. */
  private holderOf(path: string): MountEntry {
    let best: MountEntry | undefined;
    for (const candidate of this.entries) {
      const longer = candidate.mountPoint.length >= (best?.mountPoint.length ?? 0);
      if (longer && isAtOrBelow(path, candidate.mountPoint)) best = candidate;
    }
    if (best === undefined) throw new CodedError('InvalidArgument', `mount path ${path} must be absolute`);
    return best;
  }

  private topmost(target: string): number {
    return this.entries.findLastIndex(({ mountPoint }) => mountPoint === target);
  }

  private async mustExist(path: string): Promise<void> {
    if (!path.startsWith('/')) {
      throw new CodedError('InvalidArgument', `mount path ${JSON.stringify(path)} must be absolute`);
    }
    if (!(await this.options.exists(path))) throw new CodedError('NotFound', `mount: ${path}: does not exist.`);
  }
}

function entry(id: number, parentId: number, mountPoint: string, rest: Partial<MountEntry>): MountEntry {
  return {
    root: '/',
    device: '0:1',
    options: 'rw',
    propagation: [],
    type: 'none',
    source: 'none',
    superOptions: 'rw',
    ...rest,
    id,
    parentId,
    mountPoint,
  };
}

import { gzipSync } from 'node:zlib';
import { CodedError } from '../../kit/errors.ts';
import type { FileInfo, FileKind, Files, GroupOptions, OpenPath, ReadOptions } from './port.ts';
import { partsOf, resolveBeneath } from './resolve-beneath.ts';

interface Inode {
  readonly kind: FileKind;
  readonly number: number;
  mode: number;
  uid: number;
  gid: number;
  data: Buffer;
  readonly target: string;
  readonly entries: Map<string, Inode>;
}

const SETGID = 0o2000;

export interface FakeFilesOptions {
  /** Mount points, which removeTree must not enter. */
  readonly isMountPoint?: (path: string) => boolean;
  /** What is bind-mounted at a path, as another path of this filesystem. */
  readonly boundAt?: (path: string) => string | undefined;
  /** Paths whose filesystem does not answer. */
  readonly hangs?: (path: string) => boolean;
}

/** A filesystem in memory: inodes, symlinks, modes, owners, and the kernel's refusals. */
export class FakeFiles implements Files {
  private nextInode = 1;
  private readonly root: Inode = this.inode('directory', 0o755);
  private readonly options: FakeFilesOptions;

  constructor(options: FakeFilesOptions = {}) {
    this.options = options;
  }

  async lstat(path: string): Promise<FileInfo | undefined> {
    const found = this.find(path, false);
    return found && infoOf(found);
  }

  async stat(path: string): Promise<FileInfo | undefined> {
    const found = this.find(this.options.boundAt?.(path) ?? path, true);
    return found && infoOf(found);
  }

  async realPath(path: string): Promise<string> {
    const { parts, found } = this.walk(path, true);
    if (found === undefined) throw absent(path);
    return `/${parts.join('/')}`;
  }

  async read(path: string, options: ReadOptions = {}): Promise<Buffer> {
    const found = this.find(path, options.noFollow !== true);
    if (found === undefined) throw absent(path);
    if (found.kind !== 'file') throw wrong(path, found.kind);
    const { maxBytes = found.data.length, fromEnd } = options;
    const from = fromEnd === true ? Math.max(0, found.data.length - maxBytes) : 0;
    return Buffer.from(found.data.subarray(from, from + maxBytes));
  }

  async list(path: string): Promise<string[] | undefined> {
    const found = this.find(path, true);
    if (found === undefined) return undefined;
    if (found.kind !== 'directory') throw wrong(path, found.kind);
    return [...found.entries.keys()];
  }

  async makeDirectory(path: string, mode: number, parentMode = 0o750): Promise<boolean> {
    return this.makeDirectoryNow(path, mode, parentMode);
  }

  private makeDirectoryNow(path: string, mode: number, parentMode: number): boolean {
    const existing = this.find(path, true);
    if (existing?.kind === 'directory') return false;
    if (existing !== undefined) throw new CodedError('AlreadyExists', `${path} exists and is no directory`, { path });
    const parent = path.slice(0, path.lastIndexOf('/')) || '/';
    if (this.find(parent, true) === undefined) this.makeDirectoryNow(parent, parentMode, parentMode);
    const made = this.inode('directory', mode);
    this.link(path, made);
    return true;
  }

  async makeTemporaryDirectory(prefix: string, mode: number): Promise<string> {
    const path = `${prefix}${String(this.nextInode).padStart(6, '0')}`;
    this.link(path, this.inode('directory', mode));
    return path;
  }

  async write(path: string, data: Buffer | string, mode: number): Promise<void> {
    let found = this.find(path, false);
    if (found === undefined) {
      found = this.inode('file', mode);
      this.link(path, found);
    }
    if (found.kind !== 'file') throw wrong(path, found.kind);
    found.data = Buffer.from(data);
    found.mode = mode;
  }

  async createFile(path: string, mode: number): Promise<void> {
    if (this.find(path, false) === undefined) this.link(path, this.inode('file', mode));
  }

  async setMode(path: string, mode: number): Promise<void> {
    const found = this.find(path, true);
    if (found === undefined) throw absent(path);
    found.mode = mode;
  }

  async setOwner(path: string, uid: number, gid: number): Promise<void> {
    const found = this.find(path, false);
    if (found === undefined) throw absent(path);
    if (uid !== -1) found.uid = uid;
    if (gid !== -1) found.gid = gid;
  }

  async symlink(target: string, path: string): Promise<void> {
    this.link(path, this.inode('symlink', 0o777, target));
  }

  async readLink(path: string): Promise<string | undefined> {
    const found = this.find(path, false);
    if (found === undefined) return undefined;
    if (found.kind !== 'symlink') throw wrong(path, found.kind);
    return found.target;
  }

  async rename(from: string, to: string): Promise<void> {
    const moved = this.find(from, false);
    if (moved === undefined) throw absent(from);
    const replaced = this.find(to, false);
    if (replaced === moved) return;
    if (replaced?.kind === 'directory' && moved.kind !== 'directory') throw wrong(to, 'directory');
    if (replaced !== undefined && replaced.kind !== 'directory' && moved.kind === 'directory')
      throw wrong(to, replaced.kind);
    if (replaced !== undefined && replaced.entries.size > 0) throw new CodedError('Conflict', `${to} is not empty`);
    const [target, name] = this.parentOf(to);
    const [source, oldName] = this.parentOf(from);
    source.entries.delete(oldName);
    target.entries.set(name, moved);
  }

  async compress(path: string, to: string): Promise<void> {
    const found = this.find(path, false);
    if (found === undefined) throw absent(path);
    if (found.kind !== 'file') throw wrong(path, found.kind);
    await this.write(to, gzipSync(found.data), found.mode);
  }

  async remove(path: string): Promise<void> {
    const found = this.find(path, false);
    if (found === undefined) return;
    if (found.kind === 'directory') throw wrong(path, found.kind);
    const [parent, name] = this.parentOf(path);
    parent.entries.delete(name);
  }

  async removeDirectory(path: string): Promise<void> {
    const found = this.find(path, false);
    if (found === undefined) return;
    if (found.kind !== 'directory') throw wrong(path, found.kind);
    const mounted = this.options.isMountPoint?.(path) === true;
    if (found.entries.size > 0 || mounted) throw new CodedError('Conflict', `${path} is not empty or is a mount point`);
    const [parent, name] = this.parentOf(path);
    parent.entries.delete(name);
  }

  async removeTree(path: string): Promise<void> {
    const found = this.find(path, false);
    if (found === undefined) return;
    if (found.kind !== 'directory') throw wrong(path, found.kind);
    if (this.options.isMountPoint?.(path) === true)
      throw new CodedError('Conflict', `${path} is a mount point`, { path });
    for (const [name, child] of [...found.entries]) {
      if (child.kind === 'directory') await this.removeTree(`${path}/${name}`);
      else found.entries.delete(name);
    }
    await this.removeDirectory(path);
  }

  async giveToGroup(path: string, gid: number, options: GroupOptions): Promise<void> {
    const found = this.find(path, false);
    if (found?.kind !== 'directory') throw found === undefined ? absent(path) : wrong(path, found.kind);
    const bits = options.readOnly ? 0o440 : 0o660;
    const wanted = bits | 0o110 | SETGID;
    if (options.changePolicy === 'OnRootMismatch' && found.gid === gid && (found.mode & wanted) === wanted) return;
    const give = (inode: Inode): void => {
      for (const child of inode.entries.values()) give(child);
      inode.gid = gid;
      if (inode.kind === 'file') inode.mode |= bits;
      if (inode.kind === 'directory') inode.mode |= wanted;
      options.onEntry?.();
    };
    give(found);
  }

  async openBeneath(root: string, relative: string, options: { readonly createMode?: number } = {}): Promise<OpenPath> {
    if (relative.startsWith('/')) throw new CodedError('InvalidArgument', `${relative} must be relative to ${root}`);
    const parts = partsOf(relative);
    if (parts.includes('..')) throw new CodedError('InvalidArgument', `${root}/${relative} must not contain ".."`);
    let current = this.find(root, true);
    if (current === undefined) throw absent(root);
    for (const part of parts) {
      if (current.kind !== 'directory') throw wrong(`${root}/${relative}`, current.kind);
      let next: Inode | undefined = current.entries.get(part);
      if (next === undefined) {
        if (options.createMode === undefined) throw absent(`${root}/${relative}`);
        next = this.inode('directory', options.createMode | (current.mode & SETGID));
        if ((current.mode & SETGID) !== 0) next.gid = current.gid;
        current.entries.set(part, next);
      }
      if (next.kind === 'symlink') throw wrong(`${root}/${relative}`, next.kind);
      current = next;
    }
    const path = [await this.realPath(root), ...parts].join('/');
    return { path, info: infoOf(current), close: async () => {} };
  }

  resolveBeneath(root: string, relative: string): Promise<string> {
    return resolveBeneath(this, root, relative);
  }

  async answers(path: string): Promise<void> {
    if (this.options.hangs?.(path) === true) {
      throw new CodedError('DeadlineExceeded', `filesystem at ${path} does not answer`, { path });
    }
  }

  private inode(kind: FileKind, mode: number, target = ''): Inode {
    return { kind, number: this.nextInode++, mode, uid: 0, gid: 0, data: Buffer.alloc(0), target, entries: new Map() };
  }

  private find(path: string, follow: boolean): Inode | undefined {
    return this.walk(path, follow).found;
  }

  private walk(path: string, follow: boolean): { parts: string[]; found: Inode | undefined } {
    if (!path.startsWith('/')) throw new CodedError('InvalidArgument', `${path} must be absolute`);
    const parts: string[] = [];
    const chain: Inode[] = [this.root];
    let rest = partsOf(path);
    let links = 0;
    while (rest.length > 0) {
      const part = rest[0] ?? '';
      rest = rest.slice(1);
      if (part === '..') {
        if (chain.length > 1) chain.pop();
        parts.pop();
        continue;
      }
      const next = chain.at(-1)?.entries.get(part);
      if (next === undefined) return { parts, found: undefined };
      if (next.kind === 'symlink' && (follow || rest.length > 0)) {
        if (++links > 40) throw new CodedError('InvalidArgument', `${path}: too many symlinks`);
        rest = [...partsOf(next.target), ...rest];
        if (next.target.startsWith('/')) {
          chain.length = 1;
          parts.length = 0;
        }
        continue;
      }
      if (next.kind !== 'directory' && rest.length > 0) return { parts, found: undefined };
      chain.push(next);
      parts.push(part);
    }
    return { parts, found: chain.at(-1) };
  }

  private parentOf(path: string): [Inode, string] {
    const slash = path.lastIndexOf('/');
    const parent = this.find(path.slice(0, slash) || '/', true);
    if (parent === undefined) throw absent(path);
    if (parent.kind !== 'directory') throw wrong(path, parent.kind);
    return [parent, path.slice(slash + 1)];
  }

  private link(path: string, inode: Inode): void {
    const [parent, name] = this.parentOf(path);
    if (parent.entries.has(name)) throw new CodedError('AlreadyExists', `${path} exists`, { path });
    if ((parent.mode & SETGID) !== 0) inode.gid = parent.gid;
    parent.entries.set(name, inode);
  }
}

function infoOf(inode: Inode): FileInfo {
  const { kind, mode, uid, gid, data, number } = inode;
  return { kind, mode, uid, gid, size: data.length, device: 1, inode: number, bornAt: number };
}

function absent(path: string): CodedError {
  return new CodedError('NotFound', `${path} does not exist`, { path });
}

function wrong(path: string, kind: FileKind): CodedError {
  return new CodedError('InvalidArgument', `${path} is a ${kind}`, { path, kind });
}

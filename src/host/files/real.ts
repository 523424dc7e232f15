import { constants, type Stats } from 'node:fs';
import {
  chmod,
  type FileHandle,
  lchown,
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  readlink,
  realpath,
  rename,
  rmdir,
  stat,
  symlink,
  unlink,
} from 'node:fs/promises';
import { dirname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { CodedError, type ErrorCode, hasCode, messageOf } from '../../kit/errors.ts';
import type { FileInfo, FileKind, Files, GroupOptions, OpenPath, ReadOptions } from './port.ts';
import type { RemoteGuard } from './remote-guard.ts';
import { partsOf, resolveBeneath } from './resolve-beneath.ts';

// open(2) O_PATH: a handle to a place that reads nothing. Node has no constant for it; the value is the same on all of
// Linux's architectures but alpha, parisc and sparc.
const O_PATH = 0o10000000;
const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_TRUNC, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = constants;
const PARENT_MODE = 0o750;
const PERMISSIONS = 0o7777;
const SETGID = 0o2000;
/** Deeper directories are moved up before they are removed, so that no tree needs more open files than this. */
const DEPTH = 64;

export interface RealFilesDeps {
  readonly guard: Pick<RemoteGuard, 'answers'>;
}

/** Files through node:fs, asynchronous only. */
export class RealFiles implements Files {
  private readonly guard: Pick<RemoteGuard, 'answers'>;

  constructor(deps: RealFilesDeps) {
    this.guard = deps.guard;
  }

  async lstat(path: string): Promise<FileInfo | undefined> {
    return ifPresent(async () => infoOf(await lstat(path)), path);
  }

  async stat(path: string): Promise<FileInfo | undefined> {
    return ifPresent(async () => infoOf(await stat(path)), path);
  }

  async realPath(path: string): Promise<string> {
    return coded(path, () => realpath(path));
  }

  async read(path: string, options: ReadOptions = {}): Promise<Buffer> {
    const flags = O_RDONLY | O_NONBLOCK | (options.noFollow === true ? O_NOFOLLOW : 0);
    return withHandle(path, path, flags, async (handle) => {
      const { maxBytes } = options;
      if (maxBytes === undefined) return handle.readFile();
      const { size } = await handle.stat();
      const buffer = Buffer.alloc(maxBytes);
      let position = options.fromEnd === true ? Math.max(0, size - maxBytes) : 0;
      let filled = 0;
      while (filled < maxBytes) {
        const { bytesRead } = await handle.read(buffer, filled, maxBytes - filled, position);
        if (bytesRead === 0) break;
        filled += bytesRead;
        position += bytesRead;
      }
      return buffer.subarray(0, filled);
    });
  }

  async list(path: string): Promise<string[] | undefined> {
    return ifPresent(() => readdir(path), path);
  }

  async makeDirectory(path: string, mode: number, parentMode = PARENT_MODE): Promise<boolean> {
    try {
      await mkdir(path, mode);
    } catch (error) {
      switch (errnoOf(error)) {
        case 'ENOENT':
          await this.makeDirectory(dirname(path), parentMode, parentMode);
          return this.makeDirectory(path, mode, parentMode);
        case 'EEXIST':
          if ((await this.stat(path))?.kind === 'directory') return false;
          throw new CodedError('AlreadyExists', `${path} exists and is no directory`, { path });
        default:
          throw classified(path, error);
      }
    }
    // The umask has taken bits away.
    await coded(path, () => chmod(path, mode));
    return true;
  }

  async makeTemporaryDirectory(prefix: string, mode: number): Promise<string> {
    const path = await coded(prefix, () => mkdtemp(prefix));
    await coded(path, () => chmod(path, mode));
    return path;
  }

  async write(path: string, data: Buffer | string, mode: number): Promise<void> {
    await withHandle(path, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, async (handle) => {
      await handle.writeFile(data);
      if (((await handle.stat()).mode & PERMISSIONS) !== mode) await handle.chmod(mode);
    });
  }

  async createFile(path: string, mode: number): Promise<void> {
    try {
      await withHandle(path, path, O_WRONLY | O_CREAT | O_EXCL, (handle) => handle.chmod(mode));
    } catch (error) {
      if (!hasCode(error, 'AlreadyExists')) throw error;
    }
  }

  async setMode(path: string, mode: number): Promise<void> {
    await coded(path, () => chmod(path, mode));
  }

  async setOwner(path: string, uid: number, gid: number): Promise<void> {
    await coded(path, () => lchown(path, uid, gid));
  }

  async symlink(target: string, path: string): Promise<void> {
    await coded(path, () => symlink(target, path));
  }

  async readLink(path: string): Promise<string | undefined> {
    return ifPresent(() => readlink(path), path);
  }

  async rename(from: string, to: string): Promise<void> {
    await coded(`${from} to ${to}`, () => rename(from, to));
  }

  async compress(path: string, to: string): Promise<void> {
    await withHandle(path, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, async (from) => {
      const info = infoOf(await from.stat());
      if (info.kind !== 'file') {
        throw new CodedError('InvalidArgument', `${path} is a ${info.kind}, not a file to compress`, { path });
      }
      await withHandle(to, to, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, async (written) => {
        try {
          await written.chmod(info.mode);
          const source = from.createReadStream({ autoClose: false });
          await pipeline(source, createGzip(), async (pieces: AsyncIterable<Buffer>) => {
            for await (const piece of pieces) await written.writeFile(piece);
          });
        } catch (error) {
          await unlink(to).catch(() => {});
          throw error;
        }
      });
    });
  }

  async remove(path: string): Promise<void> {
    await ifPresent(() => unlink(path), path);
  }

  async removeDirectory(path: string): Promise<void> {
    await ifPresent(() => rmdir(path), path);
  }

  async removeTree(path: string): Promise<void> {
    const info = await this.lstat(path);
    if (info === undefined) return;
    if (info.kind !== 'directory') {
      throw new CodedError('InvalidArgument', `${path} is a ${info.kind}, not a directory to remove`, { path });
    }
    await withHandle(path, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, async (root) => {
      // The directory that holds the tree is on the tree's own mount unless the tree is a mount point itself.
      const parent = await withHandle(path, dirname(path), O_RDONLY | O_DIRECTORY, mountIdOf);
      const mountId = await mountIdOf(root);
      if (parent !== mountId) throw otherMount(path);
      let more = true;
      while (more) more = await emptyDirectory({ handle: root, mountId, name: path }, root, 0);
    });
    await this.removeDirectory(path);
  }

  async giveToGroup(path: string, gid: number, options: GroupOptions): Promise<void> {
    await withHandle(path, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, async (root) => {
      const info = infoOf(await root.stat());
      const wanted = groupBits(options.readOnly, true) | SETGID;
      if (options.changePolicy === 'OnRootMismatch' && info.gid === gid && (info.mode & wanted) === wanted) return;
      await giveDirectory(root, path, gid, options, await mountIdOf(root));
    });
  }

  async openBeneath(root: string, relative: string, options: { readonly createMode?: number } = {}): Promise<OpenPath> {
    const named = `${root}/${relative}`;
    if (relative.startsWith('/')) {
      throw new CodedError('InvalidArgument', `${relative} must be relative to ${root}`, { root, relative });
    }
    const parts = partsOf(relative);
    if (parts.includes('..')) {
      throw new CodedError('InvalidArgument', `${named} must not contain ".."`, { root, relative });
    }
    let handle = await coded(root, () => open(root, O_PATH | O_DIRECTORY));
    try {
      for (const [index, part] of parts.entries()) {
        const next = await this.step(handle, part, named, index === parts.length - 1, options.createMode);
        await handle.close();
        handle = next;
      }
      const info = infoOf(await handle.stat());
      const held = handle;
      return { path: `/proc/${process.pid}/fd/${held.fd}`, info, close: () => held.close() };
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  resolveBeneath(root: string, relative: string): Promise<string> {
    return resolveBeneath(this, root, relative);
  }

  answers(path: string): Promise<void> {
    return this.guard.answers(path);
  }

  /** Opens one component below an open directory; a symlink there is refused. */
  private async step(
    directory: FileHandle,
    part: string,
    named: string,
    last: boolean,
    createMode: number | undefined,
  ): Promise<FileHandle> {
    const path = `/proc/self/fd/${directory.fd}/${part}`;
    const flags = O_PATH | O_NOFOLLOW | (last ? 0 : O_DIRECTORY);
    let handle: FileHandle;
    try {
      handle = await coded(named, () => open(path, flags));
    } catch (error) {
      if (createMode === undefined || !hasCode(error, 'NotFound')) throw error;
      await coded(named, () => mkdir(path, createMode)).catch((made: unknown) => {
        if (!hasCode(made, 'AlreadyExists')) throw made;
      });
      // Opened for reading because a handle from O_PATH cannot change modes.
      const made = await coded(named, () => open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      try {
        // The kernel has set setgid and group as the parent directory wants them: keep the former.
        const inherited = (await made.stat()).mode & SETGID;
        await made.chmod((createMode & PERMISSIONS) | inherited);
      } catch (failed) {
        await made.close();
        throw classified(named, failed);
      }
      return made;
    }
    if ((await handle.stat()).isSymbolicLink()) {
      await handle.close();
      throw new CodedError('InvalidArgument', `${named}: ${part} is a symlink, which is not followed here`, { part });
    }
    return handle;
  }
}

interface Tree {
  readonly handle: FileHandle;
  readonly mountId: string;
  readonly name: string;
}

/** Empties one directory. Answers true when too deep directories were moved to the root of the tree for another round. */
async function emptyDirectory(tree: Tree, directory: FileHandle, depth: number): Promise<boolean> {
  const base = `/proc/self/fd/${directory.fd}`;
  let moved = false;
  for (const entry of await coded(tree.name, () => readdir(base, { withFileTypes: true }))) {
    const path = `${base}/${entry.name}`;
    if (!entry.isDirectory()) {
      await ifPresent(() => unlink(path), `${tree.name}: ${entry.name}`);
      continue;
    }
    if (depth >= DEPTH) {
      await coded(tree.name, () => rename(path, `/proc/self/fd/${tree.handle.fd}/.deep-${process.hrtime.bigint()}`));
      moved = true;
      continue;
    }
    await withHandle(`${tree.name}: ${entry.name}`, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, async (child) => {
      if ((await mountIdOf(child)) !== tree.mountId) throw otherMount(`${tree.name}: ${entry.name}`);
      if (await emptyDirectory(tree, child, depth + 1)) moved = true;
    });
    await ifPresent(() => rmdir(path), `${tree.name}: ${entry.name}`);
  }
  return moved;
}

async function giveDirectory(
  directory: FileHandle,
  name: string,
  gid: number,
  options: GroupOptions,
  mountId: string,
): Promise<void> {
  const base = `/proc/self/fd/${directory.fd}`;
  const { readOnly, onEntry, onFailure } = options;
  const attempt = async (work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      if (onFailure === undefined) throw error;
      onFailure(error);
    }
    onEntry?.();
  };
  for (const entry of await coded(name, () => readdir(base, { withFileTypes: true }))) {
    const path = `${base}/${entry.name}`;
    const named = `${name}/${entry.name}`;
    if (entry.isDirectory()) {
      await withHandle(named, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, async (child) => {
        if ((await mountIdOf(child)) === mountId) await giveDirectory(child, named, gid, options, mountId);
      }).catch((error: unknown) => {
        // What was there a moment ago and is gone or exchanged belongs to whoever uses the volume.
        if (!hasCode(error, 'NotFound', 'InvalidArgument')) throw error;
      });
      continue;
    }
    await attempt(async () => {
      await ifPresent(() => lchown(path, -1, gid), named);
      if (!entry.isFile()) return;
      await withHandle(named, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, async (file) => {
        await file.chmod(((await file.stat()).mode & PERMISSIONS) | groupBits(readOnly, false));
      }).catch((error: unknown) => {
        if (!hasCode(error, 'NotFound', 'InvalidArgument')) throw error;
      });
    });
  }
  await attempt(async () => {
    // chown clears setgid on some filesystems, so the mode comes last.
    await coded(name, () => directory.chown(-1, gid));
    const { mode } = await directory.stat();
    await coded(name, () => directory.chmod((mode & PERMISSIONS) | groupBits(readOnly, true) | SETGID));
  });
}

/** kubelet's masks: rw-rw---- or r--r-----, with x for directories (pkg/volume/volume_linux.go). */
function groupBits(readOnly: boolean, directory: boolean): number {
  return (readOnly ? 0o440 : 0o660) | (directory ? 0o110 : 0);
}

/** The mount that an open file lies on; unlike st_dev it tells bind mounts of the same filesystem apart (proc_pid_fdinfo(5)). */
async function mountIdOf(handle: FileHandle): Promise<string> {
  const text = await readFile(`/proc/self/fdinfo/${handle.fd}`, 'utf8');
  return /^mnt_id:\s*(\d+)$/m.exec(text)?.[1] ?? '';
}

function otherMount(what: string): CodedError {
  return new CodedError('Conflict', `${what} is a mount point; unmount it before removing the tree`, { path: what });
}

async function withHandle<T>(
  what: string,
  path: string,
  flags: number,
  use: (handle: FileHandle) => Promise<T>,
): Promise<T> {
  const handle = await coded(what, () => open(path, flags, 0o600));
  try {
    return await use(handle);
  } catch (error) {
    throw classified(what, error);
  } finally {
    await handle.close();
  }
}

async function coded<T>(what: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw classified(what, error);
  }
}

async function ifPresent<T>(run: () => Promise<T>, what: string): Promise<T | undefined> {
  try {
    return await run();
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return undefined;
    throw classified(what, error);
  }
}

const CODES: Readonly<Record<string, ErrorCode>> = {
  ENOENT: 'NotFound',
  EEXIST: 'AlreadyExists',
  ENOTEMPTY: 'Conflict',
  EBUSY: 'Conflict',
  ELOOP: 'InvalidArgument',
  ENOTDIR: 'InvalidArgument',
  EISDIR: 'InvalidArgument',
  EINVAL: 'InvalidArgument',
  ENAMETOOLONG: 'InvalidArgument',
  EACCES: 'Forbidden',
  EPERM: 'Forbidden',
  EROFS: 'Forbidden',
  ENOSPC: 'ResourceExhausted',
  EDQUOT: 'ResourceExhausted',
  EMFILE: 'ResourceExhausted',
  ENFILE: 'ResourceExhausted',
};

function classified(what: string, error: unknown): CodedError {
  if (error instanceof CodedError) return error;
  const errno = errnoOf(error);
  const code = errno === undefined ? 'Internal' : (CODES[errno] ?? 'Internal');
  return new CodedError(code, `${what}: ${messageOf(error)}`, { errno }, error);
}

function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

function infoOf(stats: Stats): FileInfo {
  return {
    kind: kindOf(stats),
    mode: stats.mode & PERMISSIONS,
    uid: stats.uid,
    gid: stats.gid,
    size: stats.size,
    device: stats.dev,
    inode: stats.ino,
    bornAt: stats.birthtimeMs,
  };
}

function kindOf(stats: Stats): FileKind {
  if (stats.isDirectory()) return 'directory';
  if (stats.isSymbolicLink()) return 'symlink';
  if (stats.isSocket()) return 'socket';
  if (stats.isFIFO()) return 'fifo';
  if (stats.isCharacterDevice()) return 'charDevice';
  if (stats.isBlockDevice()) return 'blockDevice';
  return 'file';
}

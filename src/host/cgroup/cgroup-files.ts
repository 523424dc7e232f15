import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { CodedError } from '../../kit/errors.ts';

/** The five things one does to a cgroup file system. Paths are absolute. Throws Node's errors with their codes. */
export interface CgroupFiles {
  mkdir(path: string): Promise<void>;
  rmdir(path: string): Promise<void>;
  read(path: string): Promise<string>;
  /** Never makes a file: what the kernel does not offer is ENOENT. */
  write(path: string, text: string): Promise<void>;
  /** Names of the directories in a directory. */
  directories(path: string): Promise<string[]>;
}

export const nodeCgroupFiles: CgroupFiles = {
  async mkdir(path) {
    await mkdir(path);
  },
  async rmdir(path) {
    await rmdir(path);
  },
  read: (path) => readFile(path, 'utf8'),
  // r+: writing with O_CREAT fails with EACCES in some cgroup mounts, and must not leave a file in a plain directory.
  write: (path, text) => writeFile(path, text, { flag: 'r+' }),
  async directories(path) {
    const entries = await readdir(path, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  },
};

export function errnoOf(error: unknown): string {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return typeof code === 'string' ? code : '';
}

/** What the kernel says no to, in words that name file and value. */
export function cgroupError(error: unknown, action: string): CodedError {
  if (error instanceof CodedError) return error;
  const code = errnoOf(error);
  switch (code) {
    case 'ENOENT':
    case 'ENODEV':
      return new CodedError(
        'NotFound',
        `${action}: the kernel offers no such file or cgroup (${code})`,
        { errno: code },
        error,
      );
    case 'EINVAL':
    case 'ERANGE':
    case 'EOPNOTSUPP':
      return new CodedError(
        'InvalidArgument',
        `${action}: the kernel refuses the value (${code})`,
        { errno: code },
        error,
      );
    case 'EBUSY':
      return new CodedError(
        'Conflict',
        `${action}: in use, or the limit is below what is used now (EBUSY)`,
        { errno: code },
        error,
      );
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new CodedError('Forbidden', `${action}: not permitted (${code})`, { errno: code }, error);
    default:
      return new CodedError(
        'Internal',
        `${action}: ${error instanceof Error ? error.message : String(error)}`,
        { errno: code },
        error,
      );
  }
}

export async function writeFileOf(files: CgroupFiles, path: string, text: string): Promise<void> {
  try {
    await files.write(path, text);
  } catch (error) {
    throw cgroupError(error, `write ${JSON.stringify(text)} to ${path}`);
  }
}

/** The file's text without its last newline; undefined where there is no such file. */
export async function readIfThere(files: CgroupFiles, path: string): Promise<string | undefined> {
  try {
    return (await files.read(path)).trimEnd();
  } catch (error) {
    if (['ENOENT', 'ENODEV', 'EOPNOTSUPP'].includes(errnoOf(error))) return undefined;
    throw cgroupError(error, `read ${path}`);
  }
}

/** Makes the directory; answers whether it is new. */
export async function makeDirectory(files: CgroupFiles, path: string): Promise<boolean> {
  try {
    await files.mkdir(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false;
    throw cgroupError(error, `make cgroup ${path}`);
  }
}

export async function directoryExists(files: CgroupFiles, path: string): Promise<boolean> {
  return (await directoriesIfThere(files, path)) !== undefined;
}

export async function directoriesIfThere(files: CgroupFiles, path: string): Promise<string[] | undefined> {
  try {
    return await files.directories(path);
  } catch (error) {
    if (['ENOENT', 'ENODEV', 'ENOTDIR'].includes(errnoOf(error))) return undefined;
    throw cgroupError(error, `list ${path}`);
  }
}

/** One number of a file such as memory.stat ("inactive_file 4096" on a line of its own). */
export function statValue(text: string | undefined, name: string): number | undefined {
  const match = text === undefined ? null : new RegExp(`^${name} (\\d+)$`, 'm').exec(text);
  return match === null ? undefined : Number(match[1]);
}

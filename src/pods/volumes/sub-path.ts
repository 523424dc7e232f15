import type { FileInfo, Files } from '../../host/files/port.ts';
import type { Mounts } from '../../host/mount/port.ts';
import { CodedError } from '../../kit/errors.ts';

// PATH_MAX: no container could name what lies deeper, and a directory is made for each part.
const PATH_BYTES = 4096;

/**
 * Bind-mounts a place inside a volume to `target` so that what is mounted is what was checked (pkg/volume/util/subpath):
 * symlinks are resolved inside the volume only, the result is walked without following any, and the mount is made from
 * the open file, not from a path that a container could exchange in between. A directory that is not there is made with
 * the volume's own mode. A mount that is there already stays when it is of the same file.
 * Throws InvalidArgument when the path leads out of the volume or changes while it is walked.
 */
export async function bindSubPath(
  host: { readonly files: Files; readonly mounts: Mounts },
  volumePath: string,
  subPath: string,
  target: string,
): Promise<void> {
  const { files, mounts } = host;
  checkSubPath(subPath);
  await files.answers(`${volumePath}/${subPath}`);
  const root = await files.realPath(volumePath);
  const volume = await files.stat(root);
  if (volume?.kind !== 'directory') throw invalid(subPath, `needs a directory, but ${volumePath} is none`);
  const relative = await files.resolveBeneath(root, subPath);
  const held = await files.openBeneath(root, relative, { createMode: volume.mode });
  try {
    if (await alreadyThere(host, target, held.info)) return;
    await makeTarget(files, target, held.info);
    await mounts.bind(held.path, target);
    if (!sameFile(await files.stat(target), held.info)) {
      await mounts.unmount(target, { lazy: true });
      throw new CodedError('Conflict', `${target} did not become a mount of ${root}/${relative}; it is tried again`);
    }
  } finally {
    await held.close();
  }
}

/** Throws InvalidObject for what no subPath may be, whatever the volume holds. */
export function checkSubPath(subPath: string): void {
  if (subPath.startsWith('/')) throw invalid(subPath, 'must not be an absolute path');
  if (subPath.split('/').includes('..')) throw invalid(subPath, "must not contain '..'");
  if (Buffer.byteLength(subPath) > PATH_BYTES) throw invalid(subPath, `must be at most ${PATH_BYTES} bytes`);
}

async function alreadyThere(
  { files, mounts }: { readonly files: Files; readonly mounts: Mounts },
  target: string,
  wanted: FileInfo,
): Promise<boolean> {
  const there = (await mounts.list(target)).some(({ mountPoint }) => mountPoint === target);
  if (!there) return false;
  await files.answers(target);
  if (sameFile(await files.stat(target), wanted)) return true;
  // An earlier container's mount of what has been exchanged since, such as a ConfigMap's key.
  await mounts.unmount(target, { lazy: true });
  return false;
}

async function makeTarget(files: Files, target: string, wanted: FileInfo): Promise<void> {
  const directory = wanted.kind === 'directory';
  const present = await files.lstat(target);
  if (present !== undefined && (present.kind === 'directory') !== directory) {
    if (present.kind === 'directory') await files.removeDirectory(target);
    else await files.remove(target);
  }
  if (directory) {
    await files.makeDirectory(target, 0o750);
    return;
  }
  await files.makeDirectory(target.slice(0, target.lastIndexOf('/')), 0o750);
  await files.createFile(target, 0o640);
}

function sameFile(found: FileInfo | undefined, wanted: FileInfo): boolean {
  return found !== undefined && found.device === wanted.device && found.inode === wanted.inode;
}

function invalid(subPath: string, why: string): CodedError {
  return new CodedError('InvalidObject', `unable to provision SubPath \`${subPath}\`: ${why}`, { subPath });
}

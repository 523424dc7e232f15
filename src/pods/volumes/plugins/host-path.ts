import type { FileKind, Files } from '../../../host/files/port.ts';
import { CodedError } from '../../../kit/errors.ts';
import type { HostPathType } from '../../../model/pod.ts';
import type { PodVolume, VolumePlugin } from '../plugin.ts';

const WANTED: Readonly<Record<Exclude<HostPathType, ''>, readonly [FileKind, string]>> = {
  Directory: ['directory', 'directory'],
  DirectoryOrCreate: ['directory', 'directory'],
  File: ['file', 'file'],
  FileOrCreate: ['file', 'file'],
  Socket: ['socket', 'socket file'],
  CharDevice: ['charDevice', 'character device'],
  BlockDevice: ['blockDevice', 'block device'],
};

/** A place of the node itself, named by the pod or by a PersistentVolume (pkg/volume/hostpath). */
export function hostPathPlugin(files: Files): VolumePlugin {
  const sourceOf = ({ volume, bound }: PodVolume) => bound?.volume.spec?.hostPath ?? volume.hostPath;
  return {
    name: 'kubernetes.io/host-path',
    sources: ['hostPath'],
    prepare: (volume) => {
      const { path = '', type = '' } = sourceOf(volume) ?? {};
      return prepareHostPath(files, path, type as HostPathType);
    },
    locate: async (volume) => ({ hostPath: sourceOf(volume)?.path ?? '', readOnly: volume.readOnly }),
  };
}

/**
 * Checks, or makes, what a hostPath volume names (pkg/volume/hostpath checkType). Without a type nothing is looked at.
 * Throws InvalidObject for a path with "..", a type that does not exist or one that does not fit.
 */
export async function prepareHostPath(files: Files, path: string, type: HostPathType): Promise<void> {
  if (path.split('/').includes('..')) {
    throw new CodedError('InvalidObject', `invalid HostPath \`${path}\`: must not contain '..'`, { path });
  }
  if (type === '') return;
  const wanted = Object.hasOwn(WANTED, type) ? WANTED[type] : undefined;
  if (wanted === undefined) throw new CodedError('InvalidObject', `${type} is an invalid volume type`, { path, type });
  await files.answers(path);
  const found = await files.stat(path);
  if (found === undefined && type === 'DirectoryOrCreate') {
    await files.makeDirectory(path, 0o755, 0o755);
    return;
  }
  if (found === undefined && type === 'FileOrCreate') {
    await files.createFile(path, 0o644);
    return;
  }
  const [kind, words] = wanted;
  if (found?.kind !== kind) {
    throw new CodedError('InvalidObject', `hostPath type check failed: ${path} is not a ${words}`, { path, type });
  }
}

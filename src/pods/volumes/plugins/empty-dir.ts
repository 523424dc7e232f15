import type { Files } from '../../../host/files/port.ts';
import type { Mounts } from '../../../host/mount/port.ts';
import { CodedError } from '../../../kit/errors.ts';
import type { ResourceList } from '../../../model/meta.ts';
import { memorySizeOf } from '../empty-dir-size.ts';
import { makeOwnedDirectory } from '../owned-directory.ts';
import type { VolumePlugin } from '../plugin.ts';
import type { PodPaths } from '../pod-paths.ts';

export interface EmptyDirDeps {
  readonly files: Files;
  readonly mounts: Mounts;
  readonly allocatable: () => ResourceList;
}

/** Empty directories that live as long as their pod (pkg/volume/emptydir): on the node's disk or in memory. */
export function emptyDirPlugin(paths: PodPaths, { files, mounts, allocatable }: EmptyDirDeps): VolumePlugin {
  const name = 'kubernetes.io/empty-dir';
  const pathOf = (uid: string | undefined, specName: string): string => paths.volume(uid ?? '', name, specName);
  return {
    name,
    sources: ['emptyDir'],
    locate: async ({ pod, specName }) => ({ hostPath: pathOf(pod.metadata.uid, specName), readOnly: false }),
    prepare: async ({ pod, volume, specName }) => {
      const { medium = '', sizeLimit } = volume.emptyDir ?? {};
      const path = pathOf(pod.metadata.uid, specName);
      const fsGroup = pod.spec.securityContext?.fsGroup;
      if (medium === '') {
        if ((await files.lstat(path)) === undefined) await makeOwnedDirectory(files, path, fsGroup, false);
        return;
      }
      if (medium !== 'Memory') {
        throw new CodedError(
          'Unimplemented',
          `emptyDir medium ${JSON.stringify(medium)} cannot be provided by this node; want "" or "Memory"`,
          { medium },
        );
      }
      await files.makeDirectory(path, 0o750);
      const target = await files.realPath(path);
      if ((await mounts.list(target)).some(({ mountPoint }) => mountPoint === target)) return;
      const sizeBytes = memorySizeOf(pod, sizeLimit, allocatable());
      await mounts.tmpfs(target, {
        name: 'tmpfs',
        mode: fsGroup === undefined ? 0o777 : 0o2777,
        ...(fsGroup === undefined ? {} : { gid: fsGroup }),
        ...(sizeBytes === undefined ? {} : { sizeBytes }),
      });
    },
  };
}

import type { Files } from '../../../host/files/port.ts';
import type { Mounts } from '../../../host/mount/port.ts';
import { CodedError } from '../../../kit/errors.ts';
import type { ResourceList } from '../../../model/meta.ts';
import { memorySizeOf } from '../empty-dir-size.ts';
import { isHugePages, pageBytesOf } from '../huge-pages.ts';
import { makeOwnedDirectory } from '../owned-directory.ts';
import type { VolumePlugin } from '../plugin.ts';
import type { PodPaths } from '../pod-paths.ts';
import { treeFigures } from '../volume-figures.ts';

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
    measure: ({ pod, specName }, meter) => ({
      by: 'du',
      run: (signal) => treeFigures(meter, pathOf(pod.metadata.uid, specName), signal),
    }),
    prepare: async ({ pod, volume, specName }) => {
      const { medium = '', sizeLimit } = volume.emptyDir ?? {};
      const path = pathOf(pod.metadata.uid, specName);
      const fsGroup = pod.spec.securityContext?.fsGroup;
      if (medium === '') {
        if ((await files.lstat(path)) === undefined) await makeOwnedDirectory(files, path, fsGroup, false);
        return;
      }
      const pages = isHugePages(medium) ? pageBytesOf(pod, medium) : undefined;
      if (medium !== 'Memory' && pages === undefined) {
        throw new CodedError('InvalidObject', `unknown storage medium ${JSON.stringify(medium)}`, { medium });
      }
      await files.makeDirectory(path, 0o777);
      const target = await files.realPath(path);
      if ((await mounts.list(target)).some(({ mountPoint }) => mountPoint === target)) return;
      if (pages !== undefined) {
        await mounts.mount({ type: 'hugetlbfs', source: 'nodev', target, options: [`pagesize=${pages}`] });
        if (fsGroup !== undefined) {
          await files.giveToGroup(target, fsGroup, { readOnly: false, changePolicy: 'Always' });
        }
        return;
      }
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

import type { Files } from '../../../host/files/port.ts';
import type { Mounts } from '../../../host/mount/port.ts';
import type { PodVolume, VolumePlugin } from '../plugin.ts';
import type { PodPaths } from '../pod-paths.ts';
import { mountOptionsOf } from '../pv-mount-options.ts';
import { filesystemFigures } from '../volume-figures.ts';

/** Directories of an NFS server (pkg/volume/nfs), through mount(8) and mount.nfs. */
export function nfsPlugin(
  paths: PodPaths,
  { mountMs }: { readonly mountMs: number },
  { files, mounts }: { readonly files: Files; readonly mounts: Mounts },
): VolumePlugin {
  const name = 'kubernetes.io/nfs';
  const sourceOf = ({ bound, volume }: PodVolume) => bound?.volume.spec?.nfs ?? volume.nfs;
  // A PersistentVolume is read-only by how its claim is used, an own volume by what it says itself.
  const isReadOnly = (podVolume: PodVolume): boolean =>
    podVolume.bound === undefined ? podVolume.volume.nfs?.readOnly === true : podVolume.readOnly;
  const pathOf = ({ pod, specName }: PodVolume): string => paths.volume(pod.metadata.uid ?? '', name, specName);
  return {
    name,
    sources: ['nfs'],
    supportsMountOptions: true,
    locate: async (podVolume) => ({ hostPath: pathOf(podVolume), readOnly: isReadOnly(podVolume) }),
    measure: (podVolume, meter) => ({ by: 'statfs', run: () => filesystemFigures(meter, pathOf(podVolume)) }),
    prepare: async (podVolume) => {
      const { server = '', path = '' } = sourceOf(podVolume) ?? {};
      const directory = pathOf(podVolume);
      await files.makeDirectory(parentOf(directory), 0o750);
      const target = `${await files.realPath(parentOf(directory))}/${podVolume.specName}`;
      // By the table: a stat of it would ask the server.
      if ((await mounts.list(target)).some(({ mountPoint }) => mountPoint === target)) return;
      await files.makeDirectory(target, 0o750);
      const host = server.includes(':') && !server.startsWith('[') ? `[${server}]` : server;
      const options = [...mountOptionsOf(podVolume.bound?.volume), ...(isReadOnly(podVolume) ? ['ro'] : [])];
      try {
        await mounts.mount({ type: 'nfs', source: `${host}:${path}`, target, options, deadlineMs: mountMs });
      } catch (error) {
        await mounts.unmount(target, { lazy: true }).catch(() => {});
        await files.removeDirectory(target).catch(() => {});
        throw error;
      }
    },
  };
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

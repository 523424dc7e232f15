import type { Files } from '../../host/files/port.ts';
import type { FoundVolume } from './plugin.ts';
import { type PodPaths, unescapePlugin } from './pod-paths.ts';

const FOLDERS = { volumes: 'Filesystem', volumeDevices: 'Block' } as const;

/** What is on disk of a pod's volumes: names in directories only, so that no mount that hangs is touched. */
export async function findVolumes(files: Files, paths: PodPaths, podUid: string): Promise<FoundVolume[]> {
  const found: FoundVolume[] = [];
  for (const folder of Object.keys(FOLDERS) as (keyof typeof FOLDERS)[]) {
    const base = `${paths.pod(podUid)}/${folder}`;
    for (const plugin of (await files.list(base)) ?? []) {
      for (const specName of (await files.list(`${base}/${plugin}`)) ?? []) {
        // What makeOwnedDirectory had not finished when its process ended.
        if (specName.includes('~')) continue;
        const directory = `${base}/${plugin}/${specName}`;
        found.push({ podUid, plugin: unescapePlugin(plugin), specName, volumeMode: FOLDERS[folder], directory });
      }
    }
  }
  return found;
}

import { holderOf } from './holder.ts';
import type { Mounts } from './port.ts';

/**
 * Makes mounts below a directory reach other mount namespaces, which Bidirectional and HostToContainer live by. Where
 * the directory lies on a shared mount already, as on hosts with systemd, nothing is done (kubelet's MakeRShared).
 * `directory` is absolute and has no symlinks in it.
 */
export async function makeShared(mounts: Mounts, directory: string): Promise<void> {
  const holder = holderOf(await mounts.list(), directory);
  if (holder.propagation.some((field) => field.startsWith('shared:'))) return;
  await mounts.shareRecursively(directory);
}

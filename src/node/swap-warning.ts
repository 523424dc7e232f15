/** tmpfs knows noswap since Linux 6.4 (tmpfs(5)). */
const NOSWAP_SINCE = [6, 4] as const;

/**
 * What is said of a node whose secrets may reach its disk: it swaps, and its tmpfs cannot be kept from that
 * (cm/container_manager_linux.go). `kernelVersion` is as uname -r has it.
 */
export function swapWarning(
  kernelVersion: string,
  swaps: boolean,
): { readonly type: 'Warning'; readonly reason: string; readonly message: string } | undefined {
  const [major = 0, minor = 0] = kernelVersion.split('.').map((part) => Number.parseInt(part, 10));
  const able = major > NOSWAP_SINCE[0] || (major === NOSWAP_SINCE[0] && minor >= NOSWAP_SINCE[1]);
  if (!swaps || able) return undefined;
  return {
    type: 'Warning',
    reason: 'PossibleMemoryBackedVolumesOnDisk',
    message:
      'The tmpfs noswap option is not supported. Memory-backed volumes (e.g. secrets, emptyDirs, etc.) ' +
      'might be swapped to disk and should no longer be considered secure.',
  };
}

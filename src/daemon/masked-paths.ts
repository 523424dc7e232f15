import type { Files } from '../host/files/port.ts';

const CPUS = '/sys/devices/system/cpu';

/**
 * Directories of this machine that procMount Default hides beside those of every machine: each CPU's thermal throttling,
 * from which a container could read what its neighbours do (pkg/securitycontext/util_linux.go).
 */
export async function machineMaskedPaths(files: Pick<Files, 'list' | 'stat'>): Promise<string[]> {
  const cpus = ((await files.list(CPUS)) ?? []).filter((name) => /^cpu\d+$/.test(name));
  const paths = cpus.map((name) => `${CPUS}/${name}/thermal_throttle`);
  const found = await Promise.all(paths.map(async (path) => ((await files.stat(path)) === undefined ? [] : [path])));
  return found.flat().sort();
}

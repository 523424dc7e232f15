import type { FilesystemSpace, StatsPort } from '../../host/stats/port.ts';

/** How full a volume is. What is not known is 0, as kubelet has it (volume_stat_calculator.go). */
export interface VolumeFigures extends FilesystemSpace {
  /** Milliseconds since the epoch. */
  readonly atMs: number;
  /** The driver's word on its health, where it gives one. */
  readonly condition?: { readonly abnormal: boolean; readonly message: string };
}

/** What figures are made with. */
export interface VolumeMeter {
  readonly stats: Pick<StatsPort, 'disk' | 'space' | 'deviceBytes'>;
  readonly now: () => number;
}

export const noFigures: FilesystemSpace = {
  capacityBytes: 0,
  availableBytes: 0,
  usedBytes: 0,
  inodes: 0,
  inodesFree: 0,
  inodesUsed: 0,
};

/** Files of a volume that shares its file system with others (volume NewMetricsDu). */
export async function treeFigures(
  { stats }: VolumeMeter,
  path: string | undefined,
  signal: AbortSignal,
): Promise<VolumeFigures | undefined> {
  const used = path === undefined ? undefined : await stats.disk(path, signal);
  if (used === undefined || path === undefined) return undefined;
  const { atMs, usedBytes, inodes: inodesUsed } = used;
  return { ...(await stats.space(path)), atMs, usedBytes, inodesUsed };
}

/** A volume that is a file system (volume NewMetricsStatFS). */
export async function filesystemFigures({ stats, now }: VolumeMeter, path: string): Promise<VolumeFigures> {
  return { ...(await stats.space(path)), atMs: now() };
}

/** A Block volume: only its size is known (volume NewMetricsBlock). */
export async function deviceFigures({ stats, now }: VolumeMeter, device: string): Promise<VolumeFigures> {
  return { ...noFigures, capacityBytes: await stats.deviceBytes(device), atMs: now() };
}

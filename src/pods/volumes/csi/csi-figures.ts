import type { CsiVolumeStats } from '../../../host/csi/port.ts';
import { CodedError } from '../../../kit/errors.ts';
import { noFigures, type VolumeFigures } from '../volume-figures.ts';

/** What a driver answers to NodeGetVolumeStats (csi_client.go). `condition`: it also says how well the volume is. */
export function csiFigures(
  { bytes, inodes, condition }: CsiVolumeStats,
  atMs: number,
  withCondition: boolean,
): VolumeFigures {
  if (!withCondition && bytes === undefined && inodes === undefined) {
    throw new CodedError('InvalidObject', 'failed to get usage from response. usage is nil');
  }
  return {
    ...noFigures,
    ...(bytes === undefined
      ? {}
      : { capacityBytes: bytes.total, availableBytes: bytes.available, usedBytes: bytes.used }),
    ...(inodes === undefined ? {} : { inodes: inodes.total, inodesFree: inodes.available, inodesUsed: inodes.used }),
    atMs,
    ...(withCondition ? { condition: condition ?? { abnormal: false, message: '' } } : {}),
  };
}

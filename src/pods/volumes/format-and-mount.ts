import { type BlockDevices, PARTITIONS } from '../../host/block/port.ts';
import type { Mounts } from '../../host/mount/port.ts';
import { CodedError, messageOf } from '../../kit/errors.ts';

export interface DiskMount {
  readonly device: string;
  readonly target: string;
  readonly type: string;
  readonly options: readonly string[];
}

/** In an error's metadata: what is on the disk instead of the filesystem that was asked for. */
export const MISMATCH = 'filesystemMismatch';

/** Disks may be large and slow. */
const MOUNT_MS = 100_000;

/**
 * Mounts a disk, which is formatted when there is nothing on it and checked when there is (mount-utils
 * SafeFormatAndMount). What holds other data is never formatted.
 */
export async function formatAndMount(
  host: { readonly blocks: BlockDevices; readonly mounts: Mounts },
  { device, target, type, options }: DiskMount,
): Promise<void> {
  const { blocks, mounts } = host;
  const readOnly = options.includes('ro');
  const found = await blocks.contents(device);
  if (found === undefined) {
    if (readOnly) {
      const why = `cannot mount unformatted disk ${device} as we are manipulating it in read-only mode`;
      throw new CodedError('InvalidObject', why, { device });
    }
    await blocks.format(device, type);
  } else if (!readOnly && found !== PARTITIONS) await blocks.check(device);
  try {
    await mounts.mount({ type, source: device, target, options: [...options, 'defaults'], deadlineMs: MOUNT_MS });
  } catch (error) {
    if (found === undefined || found === type) throw error;
    const { code, metadata } = error instanceof CodedError ? error : new CodedError('Internal', '');
    throw new CodedError(code, messageOf(error), { ...metadata, [MISMATCH]: found }, error);
  }
}

import type { Files } from '../../../host/files/port.ts';
import { CodedError, hasCode, messageOf } from '../../../kit/errors.ts';

/**
 * kubelet's note on a CSI volume, vol_data.json: all that a later process, kubelet or deckhand, has to undo it by. A text
 * map; kubelet overlooks what it does not know.
 */
export interface VolumeData {
  readonly specVolID?: string;
  readonly volumeHandle: string;
  readonly driverName: string;
  readonly nodeName?: string;
  readonly attachmentID?: string;
  readonly volumeLifecycleMode?: 'Persistent' | 'Ephemeral';
  /** The boot (boot_id) in which the volume was made ready: in a later one its mounts are gone. */
  readonly [READY]?: string;
}

export const READY = 'deckhand.dev/ready';
const FILE = 'vol_data.json';

export async function readVolumeData(files: Pick<Files, 'read'>, directory: string): Promise<VolumeData | undefined> {
  const path = `${directory}/${FILE}`;
  let text: string;
  try {
    text = (await files.read(path, { maxBytes: 65_536 })).toString();
  } catch (error) {
    if (hasCode(error, 'NotFound')) return undefined;
    throw error;
  }
  try {
    const data = JSON.parse(text) as Partial<VolumeData>;
    if (data.volumeHandle !== undefined && data.driverName !== undefined) return data as VolumeData;
  } catch (error) {
    throw new CodedError('InvalidObject', `${path} cannot be read: ${messageOf(error)}`, { path }, error);
  }
  throw new CodedError('InvalidObject', `${path} must name volumeHandle and driverName`, { path });
}

/** Makes the directory as well. The file is there whole or not at all. */
export async function writeVolumeData(files: Files, directory: string, data: VolumeData): Promise<void> {
  await files.makeDirectory(directory, 0o750);
  await files.write(`${directory}/.${FILE}`, `${JSON.stringify(data)}\n`, 0o644);
  await files.rename(`${directory}/.${FILE}`, `${directory}/${FILE}`);
}

/** Removes the file and then the directory, unless something is left in it. */
export async function removeVolumeData(files: Files, directory: string): Promise<void> {
  await files.remove(`${directory}/${FILE}`);
  await files.removeDirectory(directory).catch((error: unknown) => {
    if (!hasCode(error, 'Conflict', 'NotFound')) throw error;
  });
}

import type { Files } from '../../host/files/port.ts';
import { CodedError } from '../../kit/errors.ts';

/**
 * The text of a file inside a volume that containers write to: links are followed within the volume only, and what is
 * read is what was checked. Throws NotFound, InvalidArgument (it leads out of the volume, or is no regular file),
 * ResourceExhausted (more than `maxBytes`).
 */
export async function readInVolume(
  files: Pick<Files, 'realPath' | 'resolveBeneath' | 'openBeneath' | 'read'>,
  volumePath: string,
  path: string,
  maxBytes: number,
): Promise<string> {
  const root = await files.realPath(volumePath);
  const relative = await files.resolveBeneath(root, path);
  const held = await files.openBeneath(root, relative);
  try {
    if (held.info.kind !== 'file') {
      throw new CodedError('InvalidArgument', `${path} is a ${held.info.kind}; expected a file`, { path });
    }
    const data = await files.read(held.path, { maxBytes: maxBytes + 1 });
    if (data.length > maxBytes) {
      throw new CodedError('ResourceExhausted', `${path} has more than ${maxBytes} bytes`, { path });
    }
    return data.toString('utf8');
  } finally {
    await held.close();
  }
}

import { CodedError, messageOf } from '../kit/errors.ts';
import { fnv1a32 } from './fnv1a32.ts';

/**
 * The form of kubelet's checkpoints that seal a text: {"data": TEXT, "checksum": N} (checkpointmanager). The checksum is
 * FNV-1a 32 over the text as Go's spew prints a string.
 */
export function sealedData(data: string): string {
  return JSON.stringify({ data, checksum: checksumOf(data) });
}

/** The sealed text. Throws InvalidObject when it is not of this form or was changed. */
export function readSealedData(text: string): string {
  let sealed: { data?: unknown; checksum?: unknown } | null;
  try {
    sealed = JSON.parse(text) as { data?: unknown; checksum?: unknown } | null;
  } catch (error) {
    throw new CodedError('InvalidObject', `is no JSON: ${messageOf(error)}`, {}, error);
  }
  if (typeof sealed?.data !== 'string') throw new CodedError('InvalidObject', 'is no checkpoint: it has no "data"');
  const checksum = checksumOf(sealed.data);
  if (sealed.checksum !== checksum) {
    throw new CodedError(
      'InvalidObject',
      `is corrupt: its checksum is ${checksum}, it says ${String(sealed.checksum)}`,
    );
  }
  return sealed.data;
}

function checksumOf(data: string): number {
  return fnv1a32(`(string)${data}`);
}

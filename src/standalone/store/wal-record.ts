import { crc32 } from 'node:zlib';
import type { KubeObject } from '../../model/meta.ts';

/**
 * What one line of the write-ahead file says. `version` is the store-wide resourceVersion of the change.
 * - put: the whole object after the change
 * - delete: the key (namespace/name) that is gone
 * - mark: no change; `version` was reached: `snapshot` ends a compacted snapshot, `start` follows an unclean stop (the
 *   versions that it skips may have been used by changes that were lost), `closed` is a clean stop
 */
export type Mark = 'snapshot' | 'start' | 'closed';

export type WalRecord =
  | { readonly op: 'put'; readonly version: number; readonly type: string; readonly object: KubeObject }
  | { readonly op: 'delete'; readonly version: number; readonly type: string; readonly key: string }
  | { readonly op: 'mark'; readonly version: number; readonly mark: Mark };

export interface DecodedLine {
  readonly record: WalRecord;
  /** The file was known to be on disk up to this offset when the record was written. */
  readonly durable: number;
}

interface Payload {
  readonly v: number;
  readonly t?: string;
  readonly o?: KubeObject;
  readonly d?: string;
  readonly m?: Mark;
}

const SPACE = 0x20;
const CRC_LENGTH = 8;

/**
 * A line `CRC LENGTH DURABLE JSON\n`: the CRC-32 (8 hex digits) covers everything between it and the newline, LENGTH
 * is that of the JSON in bytes. JSON text holds no raw newline, so lines can be found again after a damaged one.
 */
export function encodeRecord(record: WalRecord, durable: number): Buffer {
  const json = Buffer.from(JSON.stringify(payloadOf(record)));
  const head = Buffer.from(`${json.length} ${durable} `);
  const checksum = crc32(json, crc32(head)).toString(16).padStart(CRC_LENGTH, '0');
  return Buffer.concat([Buffer.from(`${checksum} `), head, json, Buffer.from('\n')]);
}

/** Reads a line without its newline; undefined when it is damaged in any way. */
export function decodeLine(line: Buffer): DecodedLine | undefined {
  if (line.length < CRC_LENGTH + 6 || line[CRC_LENGTH] !== SPACE) return undefined;
  const checksum = line.toString('latin1', 0, CRC_LENGTH);
  const covered = line.subarray(CRC_LENGTH + 1);
  if (crc32(covered).toString(16).padStart(CRC_LENGTH, '0') !== checksum) return undefined;
  const first = covered.indexOf(SPACE);
  const second = covered.indexOf(SPACE, first + 1);
  if (first < 0 || second < 0) return undefined;
  const length = Number(covered.toString('latin1', 0, first));
  const durable = Number(covered.toString('latin1', first + 1, second));
  if (covered.length - second - 1 !== length || !Number.isSafeInteger(durable)) return undefined;
  const record = recordOf(JSON.parse(covered.toString('utf8', second + 1)) as Payload);
  return record === undefined ? undefined : { record, durable };
}

function payloadOf(record: WalRecord): Payload {
  switch (record.op) {
    case 'put':
      return { v: record.version, t: record.type, o: record.object };
    case 'delete':
      return { v: record.version, t: record.type, d: record.key };
    case 'mark':
      return { v: record.version, m: record.mark };
  }
}

function recordOf(payload: Payload): WalRecord | undefined {
  const { v: version, t: type, o: object, d: key, m: mark } = payload;
  if (mark !== undefined) return { op: 'mark', version, mark };
  if (type === undefined) return undefined;
  if (object !== undefined) return { op: 'put', version, type, object };
  return key === undefined ? undefined : { op: 'delete', version, type, key };
}

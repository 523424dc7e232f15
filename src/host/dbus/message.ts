import { CodedError } from '../../kit/errors.ts';
import type { DBusValue, Variant } from './port.ts';
import { WireReader, WireWriter } from './wire.ts';

export type MessageType = 'call' | 'return' | 'error' | 'signal';

export interface Message {
  readonly type: MessageType;
  readonly serial: number;
  readonly path?: string;
  readonly interface?: string;
  readonly member?: string;
  readonly errorName?: string;
  readonly replySerial?: number;
  readonly destination?: string;
  readonly sender?: string;
  readonly signature?: string;
  /** How many file descriptors come with it; values of type h are indexes of them. */
  readonly fileDescriptors?: number;
  readonly body?: readonly DBusValue[];
  readonly noReply?: boolean;
}

const TYPES: readonly (MessageType | undefined)[] = [undefined, 'call', 'return', 'error', 'signal'];
/** Header fields: code, name here, type. */
const FIELDS = [
  [1, 'path', 'o'],
  [2, 'interface', 's'],
  [3, 'member', 's'],
  [4, 'errorName', 's'],
  [5, 'replySerial', 'u'],
  [6, 'destination', 's'],
  [7, 'sender', 's'],
  [8, 'signature', 'g'],
  [9, 'fileDescriptors', 'u'],
] as const;
const FIXED_HEADER = 12;
const NO_REPLY = 1;
/** The bus itself allows no more. */
const MESSAGE_BYTES_MAX = 128 * 1024 * 1024;

export function encodeMessage(message: Message): Buffer {
  const body = new WireWriter();
  if (message.signature !== undefined) body.writeAll(message.signature, message.body ?? []);
  const writer = new WireWriter();
  writer.write('y', 'l'.charCodeAt(0));
  writer.write('y', TYPES.indexOf(message.type));
  writer.write('y', message.noReply === true ? NO_REPLY : 0);
  writer.write('y', 1);
  writer.write('u', body.length);
  writer.write('u', message.serial);
  const fields = FIELDS.flatMap(([code, name, signature]) => {
    const value = message[name];
    return value === undefined ? [] : [[code, { signature, value }] as DBusValue];
  });
  writer.write('a(yv)', fields);
  writer.align(8);
  return Buffer.concat([writer.bytes, body.bytes]);
}

/** How many bytes the first message of `data` takes; undefined while that cannot be told. Throws InvalidArgument. */
export function messageLength(data: Buffer): number | undefined {
  if (data.length < FIXED_HEADER + 4) return undefined;
  const little = data[0] === 'l'.charCodeAt(0);
  const number = (at: number): number => (little ? data.readUInt32LE(at) : data.readUInt32BE(at));
  const headers = FIXED_HEADER + 4 + number(FIXED_HEADER);
  const length = headers + ((8 - (headers % 8)) % 8) + number(4);
  if (length > MESSAGE_BYTES_MAX) throw new CodedError('InvalidArgument', `a D-Bus message has ${length} bytes`);
  return length;
}

/** One whole message. Throws InvalidArgument. */
export function decodeMessage(data: Buffer): Message {
  const little = data[0] === 'l'.charCodeAt(0);
  const reader = new WireReader(data, little, 1);
  const type = TYPES[Number(reader.read('y'))];
  const flags = Number(reader.read('y'));
  reader.read('y');
  reader.read('u');
  const serial = Number(reader.read('u'));
  const fields = reader.read('a(yv)') as readonly (readonly [number, Variant])[];
  reader.align(8);
  if (type === undefined) throw new CodedError('InvalidArgument', 'a D-Bus message of an unknown type');
  const header: Record<string, DBusValue> = {};
  for (const [code, { value }] of fields) {
    const name = FIELDS.find(([known]) => known === code)?.[1];
    if (name !== undefined) header[name] = value;
  }
  const signature = header['signature'];
  const body = typeof signature === 'string' ? new WireReader(data.subarray(reader.at), little).readAll(signature) : [];
  return {
    ...(header as Omit<Message, 'type' | 'serial' | 'body'>),
    type,
    serial,
    body,
    noReply: (flags & NO_REPLY) !== 0,
  };
}

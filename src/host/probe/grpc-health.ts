import { CodedError } from '../../kit/errors.ts';

/**
 * The two messages of grpc.health.v1.Health/Check by hand (github.com/grpc/grpc-proto health.proto): one string and one
 * enum field each, too little to load a code generator's output for.
 */
export const CHECK_PATH = '/grpc.health.v1.Health/Check';

const STATUS_NAMES = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'];

/** HealthCheckRequest{service = 1} in a gRPC frame: flag byte, length, message. */
export function encodeCheck(service: string): Buffer {
  const name = Buffer.from(service, 'utf8');
  const message = name.length === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.from([0x0a]), varint(name.length), name]);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** The status name in a framed HealthCheckResponse{status = 1}. Throws Internal when it is none. */
export function decodeCheck(frame: Buffer): string {
  if (frame.length < 5) throw new CodedError('Internal', `gRPC answer has ${frame.length} bytes, needs 5 or more`);
  if (frame[0] !== 0) throw new CodedError('Internal', 'gRPC answer is compressed, which was not asked for');
  const length = frame.readUInt32BE(1);
  if (frame.length < 5 + length) {
    throw new CodedError('Internal', `gRPC answer has ${frame.length - 5} bytes of a message of ${length}`);
  }
  const message = frame.subarray(5, 5 + length);
  let status = 0;
  for (let at = 0; at < message.length; ) {
    const tag = readVarint(message, at);
    const wireType = tag.value & 7;
    if (wireType === 0) {
      const value = readVarint(message, tag.next);
      if (tag.value >> 3 === 1) status = value.value;
      at = value.next;
    } else if (wireType === 2) {
      const size = readVarint(message, tag.next);
      at = size.next + size.value;
    } else if (wireType === 1 || wireType === 5) {
      at = tag.next + (wireType === 1 ? 8 : 4);
    } else {
      throw new CodedError('Internal', `gRPC answer has a field of wire type ${wireType}`);
    }
  }
  return STATUS_NAMES[status] ?? String(status);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}

function readVarint(bytes: Buffer, from: number): { value: number; next: number } {
  let value = 0;
  for (let at = from, shift = 0; at < bytes.length && shift < 35; at++, shift += 7) {
    const byte = bytes[at] ?? 0;
    value = (value | ((byte & 0x7f) << shift)) >>> 0;
    if (byte < 0x80) return { value, next: at + 1 };
  }
  throw new CodedError('Internal', 'gRPC answer breaks off inside a number');
}

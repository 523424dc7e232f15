import { rfc3339 } from '../../model/time.ts';
import { assign, isObject, type JsonObject } from '../patch/json-value.ts';
import { protobufMessages } from './protobuf-messages.ts';
import { badRequest, unsupportedMediaType } from './status-error.ts';

export const PROTOBUF_TYPE = 'application/vnd.kubernetes.protobuf';

interface FieldType {
  readonly name: string;
  readonly type: string;
  readonly shape: 'one' | 'list' | 'map';
}

type Messages = ReadonlyMap<string, ReadonlyMap<number, FieldType>>;

// Every body begins with it, then comes a runtime.Unknown (apimachinery serializer/protobuf).
const MAGIC = Buffer.from('k8s\0');

/**
 * The JSON of an object in Kubernetes' protobuf envelope. Throws 415 for kinds that are not in protobuf-messages.ts
 * (JSON is always understood), 400 for damaged data.
 */
export function parseProtobuf(body: Buffer): JsonObject {
  if (!body.subarray(0, MAGIC.length).equals(MAGIC)) throw badRequest('the body is not Kubernetes protobuf');
  let apiVersion = '';
  let kind = '';
  let raw: Buffer | undefined;
  for (const [number, value] of fieldsOf(body.subarray(MAGIC.length))) {
    if (number === 1 && Buffer.isBuffer(value)) {
      for (const [inner, text] of fieldsOf(value)) {
        if (inner === 1) apiVersion = String(text);
        if (inner === 2) kind = String(text);
      }
    } else if (number === 2 && Buffer.isBuffer(value)) {
      raw = value;
    }
  }
  const messages = parseMessages(protobufMessages);
  if (!messages.has(kind))
    throw unsupportedMediaType(`${PROTOBUF_TYPE} of a ${kind}`, ['application/json', 'application/yaml']);
  return { apiVersion, kind, ...messageOf(raw ?? Buffer.alloc(0), kind, messages) };
}

function messageOf(data: Buffer, name: string, messages: Messages): JsonObject {
  const types = messages.get(name);
  const object: JsonObject = {};
  for (const [number, value] of fieldsOf(data)) {
    const field = types?.get(number);
    if (field === undefined) continue;
    if (field.shape === 'map') {
      addEntry(object, field, value, messages);
      continue;
    }
    const json = jsonOf(value, field.type, messages);
    if (field.shape === 'list') {
      const before = object[field.name];
      object[field.name] = Array.isArray(before) ? [...before, json] : [json];
    } else if (json !== '' && !(json === 0 && field.type === 'int')) {
      // Go writes fields that are no pointers although they are empty.
      object[field.name] = json;
    }
  }
  return object;
}

function addEntry(object: JsonObject, field: FieldType, value: number | Buffer, messages: Messages): void {
  if (!Buffer.isBuffer(value)) return;
  let key = '';
  let item: unknown = '';
  for (const [number, part] of fieldsOf(value)) {
    if (number === 1) key = String(part);
    if (number === 2) item = jsonOf(part, field.type, messages);
  }
  const before = object[field.name];
  const map: JsonObject = isObject(before) ? before : {};
  assign(map, key, item);
  object[field.name] = map;
}

function jsonOf(value: number | Buffer, type: string, messages: Messages): unknown {
  switch (type) {
    case 'string':
      return value.toString();
    case 'int':
    case 'int?':
      return Number(value);
    case 'bool':
      return value === 1;
    case 'bytes':
      return Buffer.isBuffer(value) ? value.toString('base64') : '';
    case 'time': {
      // A time that is not set is a message without fields.
      const seconds = new Map(Buffer.isBuffer(value) ? fieldsOf(value) : []).get(1);
      return seconds === undefined ? '' : rfc3339(Number(seconds) * 1000);
    }
    case 'intOrString': {
      const parts = new Map(Buffer.isBuffer(value) ? fieldsOf(value) : []);
      return parts.get(1) === 1 ? String(parts.get(3) ?? '') : Number(parts.get(2) ?? 0);
    }
    default:
      return Buffer.isBuffer(value) ? messageOf(value, type, messages) : {};
  }
}

/** The fields of a message: numbers for varints, bytes for what has a length. */
function* fieldsOf(data: Buffer): Generator<[number, number | Buffer]> {
  let at = 0;
  const varint = (): number => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = data[at++];
      if (byte === undefined || shift > 63n) throw badRequest('the protobuf body is damaged');
      value |= BigInt(byte & 0x7f) << shift;
      // Negative int32 and int64 take ten bytes.
      if (byte < 0x80) return Number(BigInt.asIntN(64, value));
    }
  };
  while (at < data.length) {
    const tag = varint();
    const wire = tag & 7;
    if (wire === 0) {
      yield [tag >>> 3, varint()];
    } else if (wire === 2) {
      const length = varint();
      if (length < 0 || at + length > data.length) throw badRequest('the protobuf body is damaged');
      yield [tag >>> 3, data.subarray(at, at + length)];
      at += length;
    } else if (wire === 1 || wire === 5) {
      at += wire === 1 ? 8 : 4;
    } else {
      throw badRequest('the protobuf body is damaged');
    }
  }
}

function parseMessages(text: string): Messages {
  const messages = new Map<string, Map<number, FieldType>>();
  for (const line of text.trim().split('\n')) {
    const [name = '', ...fields] = line.split(' ');
    const types = new Map<number, FieldType>();
    for (const field of fields) {
      const [number = '', fieldName = '', type = ''] = field.split(':');
      const shape = type.startsWith('[') ? 'list' : type.startsWith('<') ? 'map' : 'one';
      types.set(Number(number), { name: fieldName, type: shape === 'one' ? type : type.slice(1, -1), shape });
    }
    messages.set(name, types);
  }
  return messages;
}

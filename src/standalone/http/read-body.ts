import type { IncomingMessage } from 'node:http';
import { messageOf } from '../../kit/errors.ts';
import { PROTOBUF_TYPE, parseProtobuf } from './protobuf-object.ts';
import { badRequest, tooLarge, unsupportedMediaType } from './status-error.ts';

/** As kube-apiserver limits bodies (MaxRequestBodyBytes). */
export const MAX_BODY_BYTES = 3 * 1024 * 1024;

const JSON_TYPES = ['application/json'];
const YAML_TYPES = ['application/yaml', 'application/x-yaml', 'text/yaml'];

export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  // The request stays whole when too much comes, so that it can still be answered.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_BODY_BYTES) throw tooLarge(MAX_BODY_BYTES);
    chunks.push(chunk);
  }
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
}

/** The media type without its parameters. */
export function contentTypeOf(request: IncomingMessage): string {
  return (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
}

/** The object in a body of JSON (also when no type is named), YAML or protobuf (few kinds); undefined when it is empty. */
export async function readObject(request: IncomingMessage): Promise<unknown> {
  const type = contentTypeOf(request);
  const yaml = YAML_TYPES.includes(type);
  if (type !== '' && !yaml && type !== PROTOBUF_TYPE && !JSON_TYPES.includes(type)) {
    throw unsupportedMediaType(type, [...JSON_TYPES, 'application/yaml']);
  }
  const body = await readBody(request);
  if (body.length === 0) return undefined;
  if (type === PROTOBUF_TYPE) return parseProtobuf(body);
  return yaml ? parseYaml(body) : parseJson(body);
}

export function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw badRequest(`the object provided is not valid JSON: ${messageOf(error)}`);
  }
}

/** JSON is YAML too, and most of what comes as YAML here is JSON (kubectl apply --server-side). */
export async function parseYaml(body: Buffer): Promise<unknown> {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    // Not JSON: read it as YAML.
  }
  const { parse } = await import('yaml');
  try {
    return parse(body.toString('utf8'), { maxAliasCount: 100 });
  } catch (error) {
    throw badRequest(`the object provided is not valid YAML: ${messageOf(error)}`);
  }
}

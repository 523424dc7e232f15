import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createSecureServer, type SecureServerOptions, type ServerHttp2Session } from 'node:http2';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { PatchType } from '../../../src/cluster/port.ts';
import { CodedError } from '../../../src/kit/errors.ts';
import { type ResourceType, resources } from '../../../src/model/resource.ts';
import type { MemoryApi } from './memory-api.ts';

const PATCH_TYPES: Readonly<Record<string, PatchType>> = {
  'application/json-patch+json': 'json',
  'application/merge-patch+json': 'merge',
  'application/strategic-merge-patch+json': 'strategic',
  'application/apply-patch+yaml': 'apply',
};
const STATUS: Readonly<Record<string, number>> = { Unavailable: 500, Unimplemented: 415, InvalidObject: 422 };

export interface RunningServer {
  readonly url: string;
  readonly server: Server;
  readonly sessions: ReadonlySet<ServerHttp2Session>;
  /** What came last: header by name. */
  readonly seen: { headers: Record<string, string | string[] | undefined>; url: string; connections: number };
  /** May answer a request itself; returns true when it did. */
  intercept: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
  close(): Promise<void>;
}

/** MemoryApi over HTTP or TLS on loopback, with the paths and bodies of a real API server; with `http2` also over that. */
export async function serveMemoryApi(
  api: MemoryApi,
  tls?: { key: string; cert: string; ca: string },
  http2?: SecureServerOptions,
): Promise<RunningServer> {
  const running = {
    intercept: undefined,
    seen: { headers: {}, url: '', connections: 0 },
  } as unknown as RunningServer & {
    url: string;
    server: Server;
    sessions: ReadonlySet<ServerHttp2Session>;
  };
  const listener: RequestListener = (request, response) => {
    running.seen.headers = request.headers;
    running.seen.url = request.url ?? '';
    if (running.intercept?.(request, response)) return;
    answer(api, request, response).catch((error: unknown) => fail(response, error));
  };
  const sessions = new Set<ServerHttp2Session>();
  const checked = { ...tls, requestCert: true, rejectUnauthorized: false };
  let server: Server;
  if (tls === undefined) server = createServer(listener);
  else if (http2 === undefined) server = createTlsServer(checked, listener) as unknown as Server;
  else {
    const secure = createSecureServer({ allowHTTP1: true, ...checked, ...http2 });
    secure.on('request', listener as unknown as Parameters<typeof secure.on>[1]);
    secure.on('session', (session) => {
      sessions.add(session);
      session.on('close', () => sessions.delete(session));
      session.on('error', () => {});
    });
    server = secure as unknown as Server;
  }
  server.on(tls === undefined ? 'connection' : 'secureConnection', () => {
    running.seen.connections++;
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  running.server = server;
  running.url = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`;
  running.sessions = sessions;
  running.close = async () => {
    for (const session of sessions) session.destroy();
    server.closeAllConnections?.();
    await new Promise((resolve) => server.close(resolve));
  };
  return running;
}

async function answer(api: MemoryApi, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://x');
  const { type, namespace, name, subresource } = parse(url.pathname);
  const target = { namespace, name, subresource };
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString('utf8');
  const body: unknown = text === '' ? undefined : JSON.parse(text);
  const query = (key: string): string | undefined => url.searchParams.get(key) ?? undefined;
  const selection = {
    ...(namespace === undefined ? {} : { namespace }),
    ...(query('labelSelector') === undefined ? {} : { labelSelector: query('labelSelector') as string }),
    ...(query('fieldSelector') === undefined ? {} : { fieldSelector: query('fieldSelector') as string }),
  };
  if (request.method === 'GET' && name !== undefined) return json(response, 200, await api.get(type, target));
  if (request.method === 'GET' && query('watch') === 'true') {
    const stop = new AbortController();
    response.on('close', () => stop.abort());
    const events = api.watch(type, { ...selection, resourceVersion: query('resourceVersion') ?? '0' }, stop.signal);
    try {
      // A real server answers the head before the first event.
      response.writeHead(200, { 'content-type': 'application/json' });
      response.flushHeaders();
      for await (const event of events) {
        const line =
          event.type === 'BOOKMARK'
            ? { type: 'BOOKMARK', object: { kind: type.kind, metadata: { resourceVersion: event.resourceVersion } } }
            : event;
        response.write(`${JSON.stringify(line)}\n`);
      }
      response.end();
    } catch (error) {
      if (error instanceof CodedError && error.code === 'Gone') {
        response.end(`${JSON.stringify({ type: 'ERROR', object: statusOf(error).body })}\n`);
      } else response.destroy();
    }
    return;
  }
  if (request.method === 'GET') {
    const limit = query('limit');
    const page = await api.list(type, {
      ...selection,
      ...(limit === undefined ? {} : { limit: Number(limit) }),
      ...(query('continue') === undefined ? {} : { continue: query('continue') as string }),
    });
    return json(response, 200, page);
  }
  if (request.method === 'POST') return json(response, 201, await api.create(type, target, body));
  if (request.method === 'PUT') return json(response, 200, await api.update(type, target, body as never));
  if (request.method === 'PATCH') {
    const patchType = PATCH_TYPES[request.headers['content-type'] ?? ''];
    if (patchType === undefined) throw new CodedError('Unimplemented', 'unknown patch type');
    return json(response, 200, await api.patch(type, target, body, patchType));
  }
  if (request.method === 'DELETE') {
    const options = (body ?? {}) as { gracePeriodSeconds?: number; preconditions?: { uid?: string } };
    const uid = options.preconditions?.uid;
    await api.delete(type, target, {
      ...(options.gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds: options.gracePeriodSeconds }),
      ...(uid === undefined ? {} : { uid }),
    });
    return json(response, 200, { kind: 'Status', apiVersion: 'v1', status: 'Success' });
  }
  response.writeHead(405).end();
}

function parse(path: string): { type: ResourceType; namespace?: string; name?: string; subresource?: string } {
  const parts = path
    .split('/')
    .filter((part) => part !== '')
    .map(decodeURIComponent);
  const group = parts[0] === 'api' ? '' : (parts[1] ?? '');
  let rest = parts.slice(parts[0] === 'api' ? 2 : 3);
  let namespace: string | undefined;
  if (rest[0] === 'namespaces' && rest.length > 2) {
    namespace = rest[1];
    rest = rest.slice(2);
  }
  const type = Object.values(resources).find((candidate) => candidate.plural === rest[0] && candidate.group === group);
  if (type === undefined) throw new CodedError('NotFound', `the server could not find ${path}`, { status: 404 });
  const [, name, subresource] = rest;
  return {
    type,
    ...(namespace === undefined ? {} : { namespace }),
    ...(name === undefined ? {} : { name }),
    ...(subresource === undefined ? {} : { subresource }),
  };
}

function statusOf(error: CodedError): { code: number; body: unknown } {
  const code = Number(error.metadata['status'] ?? STATUS[error.code] ?? 500);
  return {
    code,
    body: {
      kind: 'Status',
      apiVersion: 'v1',
      status: 'Failure',
      message: error.message,
      reason: error.metadata['reason'],
      code,
    },
  };
}

function fail(response: ServerResponse, error: unknown): void {
  const coded = error instanceof CodedError ? error : new CodedError('Internal', String(error));
  const { code, body } = statusOf(coded);
  const retryAfterMs = coded.metadata['retryAfterMs'];
  if (retryAfterMs !== undefined) response.setHeader('retry-after', String(Number(retryAfterMs) / 1000));
  json(response, code, body);
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

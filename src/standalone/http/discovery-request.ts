import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  aggregatedDiscovery,
  group,
  groupList,
  legacyVersions,
  resourceList,
} from '../discovery/discovery-documents.ts';
import { openApiV2Protobuf } from '../discovery/openapi-v2-protobuf.ts';
import type { OpenApiDocuments } from '../schema/openapi.ts';
import type { WalStore } from '../store/wal-store.ts';
import { isJson, parseAccept } from './negotiate.ts';
import { sendJson } from './respond.ts';
import { methodNotAllowed, noSuchResource, notAcceptable, StatusError } from './status-error.ts';

const OPENAPI_V2_PROTOBUF = 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf';
/** What is answered to that: "@" is not allowed in a media type (kube-openapi handler.go). */
const OPENAPI_V2_PROTOBUF_ANSWER = 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf';
const ROOT_PATHS = [
  '/api',
  '/api/v1',
  '/apis',
  '/healthz',
  '/livez',
  '/openapi/v2',
  '/openapi/v3',
  '/readyz',
  '/version',
];

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly path: string;
  readonly query: URLSearchParams;
}

interface Context {
  readonly gitVersion: string;
  readonly serverAddress: string;
  readonly openApi: OpenApiDocuments;
  readonly store: WalStore;
  /** There when metrics.k8s.io is served. */
  readonly measure?: unknown;
}

/** Answers what is no resource: health, version, discovery, OpenAPI. Throws 404 for the rest. */
export async function answerDiscovery(exchange: Exchange, context: Context): Promise<void> {
  const { request, response } = exchange;
  if (request.method !== 'GET') throw methodNotAllowed();
  const path = exchange.path.length > 1 && exchange.path.endsWith('/') ? exchange.path.slice(0, -1) : exchange.path;
  if (/^\/(healthz|livez|readyz)(\/|$)/.test(path)) {
    answerHealth(response, context.store);
    return;
  }
  switch (path) {
    case '/':
      return sendJson(response, 200, JSON.stringify({ paths: ROOT_PATHS }));
    case '/version':
      return sendJson(response, 200, JSON.stringify(versionInfo(context.gitVersion)));
    case '/api':
    case '/apis':
      return answerRoot(exchange, path === '/api' ? 'api' : 'apis', context);
    case '/openapi/v2':
      return answerOpenApiV2(exchange, context);
    case '/openapi/v3':
      return sendKept(exchange, JSON.stringify(openApiIndex(context)));
  }
  if (path.startsWith('/openapi/v3/')) {
    return sendFound(exchange, context.openApi.v3(path.slice('/openapi/v3/'.length)));
  }
  const parts = path.split('/').slice(1);
  const metrics = context.measure !== undefined;
  if (parts[0] === 'api' && parts.length === 2) return sendFound(exchange, resourceList(parts[1] ?? '', metrics));
  if (parts[0] === 'apis' && parts.length === 2) return sendFound(exchange, group(parts[1] ?? '', metrics));
  if (parts[0] === 'apis' && parts.length === 3) {
    return sendFound(exchange, resourceList(`${parts[1]}/${parts[2]}`, metrics));
  }
  throw noSuchResource();
}

function answerHealth(response: ServerResponse, store: WalStore): void {
  const ok = store.writable;
  response.writeHead(ok ? 200 : 500, {
    'content-type': 'text/plain; charset=utf-8',
    'x-content-type-options': 'nosniff',
  });
  response.end(ok ? 'ok' : '[-]store cannot write\n');
}

/** kubectl from 1.27 on asks for everything at once, and accepts the old documents too. */
function answerRoot(exchange: Exchange, root: 'api' | 'apis', { serverAddress, measure }: Context): void {
  const metrics = measure !== undefined;
  for (const { type, parameters } of parseAccept(exchange.request.headers.accept)) {
    if (!isJson(type)) continue;
    const { g, v, as } = parameters;
    if (as === undefined) {
      sendKept(exchange, JSON.stringify(root === 'api' ? legacyVersions(serverAddress) : groupList(metrics)));
      return;
    }
    if (g === 'apidiscovery.k8s.io' && as === 'APIGroupDiscoveryList' && (v === 'v2' || v === 'v2beta1')) {
      const contentType = `application/json;g=apidiscovery.k8s.io;v=${v};as=APIGroupDiscoveryList`;
      sendKept(exchange, JSON.stringify(aggregatedDiscovery(root, v, metrics)), contentType);
      return;
    }
  }
  throw notAcceptable();
}

function answerOpenApiV2(exchange: Exchange, { openApi, gitVersion }: Context): void {
  for (const { type } of parseAccept(exchange.request.headers.accept)) {
    if (type === OPENAPI_V2_PROTOBUF) {
      const body = openApiV2Protobuf(gitVersion);
      exchange.response.writeHead(200, { 'content-type': OPENAPI_V2_PROTOBUF_ANSWER, 'content-length': body.length });
      exchange.response.end(body);
      return;
    }
    if (isJson(type)) {
      sendKept(exchange, JSON.stringify(openApi.v2()));
      return;
    }
  }
  throw notAcceptable();
}

function sendFound(exchange: Exchange, document: unknown): void {
  if (document === undefined) throw noSuchResource();
  sendKept(exchange, JSON.stringify(document));
}

/** Where the document of each group and version is; the hash tells clients whether the one they keep is current. */
function openApiIndex({ openApi, gitVersion }: Context): unknown {
  const paths: Record<string, unknown> = {};
  for (const groupVersion of openApi.groupVersions()) {
    const hash = createHash('sha256').update(`${gitVersion} ${groupVersion}`).digest('hex').slice(0, 32).toUpperCase();
    paths[groupVersion] = { serverRelativeURL: `/openapi/v3/${groupVersion}?hash=${hash}` };
  }
  return { paths };
}

/** With an ETag, so that a client that has it already is told so. */
function sendKept({ request, response }: Exchange, body: string, type = 'application/json'): void {
  const tag = `"${createHash('sha256').update(body).digest('hex').slice(0, 32).toUpperCase()}"`;
  response.setHeader('etag', tag);
  response.setHeader('vary', 'Accept');
  if (request.headers['if-none-match'] === tag) {
    response.writeHead(304);
    response.end();
    return;
  }
  sendJson(response, 200, body, type);
}

function versionInfo(gitVersion: string): unknown {
  const [, major, minor] = /^v(\d+)\.(\d+)/.exec(gitVersion) ?? [];
  if (major === undefined || minor === undefined) {
    throw new StatusError('Internal', 500, 'InternalError', `${gitVersion} is no version`);
  }
  return {
    major,
    minor,
    gitVersion,
    gitCommit: '',
    gitTreeState: '',
    buildDate: '1970-01-01T00:00:00Z',
    goVersion: '',
    compiler: `node ${process.version}`,
    platform: `${process.platform}/${process.arch === 'x64' ? 'amd64' : process.arch}`,
  };
}

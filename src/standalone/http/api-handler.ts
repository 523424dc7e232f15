import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../kit/clock.ts';
import { messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { KubeObject } from '../../model/meta.ts';
import type { Pod } from '../../model/pod.ts';
import { resources } from '../../model/resource.ts';
import { rfc3339 } from '../../model/time.ts';
import type { TokenSigner } from '../certificates/token-signer.ts';
import type { Faults } from '../faults.ts';
import {
  METRICS_GROUP,
  type MeasureUse,
  type MetricsTarget,
  metricsAnswer,
  parseMetricsPath,
} from '../metrics/metrics-api.ts';
import { isObject } from '../patch/json-value.ts';
import type { OpenApiDocuments } from '../schema/openapi.ts';
import type { WalStore } from '../store/wal-store.ts';
import type { IncludeObject } from '../tables/table.ts';
import { answerReview } from './answer-review.ts';
import type { Authenticator } from './authenticator.ts';
import { type Attributes, deniedMessage, isAllowed } from './authorize.ts';
import { bindPod } from './bind-pod.ts';
import { answerDiscovery } from './discovery-request.ts';
import { type Encoding, encodeObject } from './encode-object.ts';
import { evictPod } from './evict-pod.ts';
import { parseFilter } from './field-values.ts';
import type { Identity } from './identity.ts';
import { answerList, parseVersion } from './list-request.ts';
import { negotiate } from './negotiate.ts';
import { nodeConnection } from './node-connection.ts';
import type { NodeProxy } from './node-proxy.ts';
import { podConnection } from './pod-connection.ts';
import { contentTypeOf, parseJson, parseYaml, readBody, readObject } from './read-body.ts';
import { parseRequestPath, type RequestInfo, type Verb } from './request-info.ts';
import { requestToken } from './request-token.ts';
import type { DeleteOptions, Patch, ResourceOperations, Target } from './resource-operations.ts';
import { addWarnings, sendJson, sendStatus } from './respond.ts';
import {
  badRequest,
  forbidden,
  methodNotAllowed,
  StatusError,
  statusOf,
  tooManyRequests,
  unauthorized,
  unsupportedMediaType,
} from './status-error.ts';
import type { WatchHub } from './watch-hub.ts';
import { parseWriteOptions } from './write-options.ts';

export interface ApiHandlerOptions {
  /** Audience of tokens that name none, and of TokenReviews. */
  readonly audience: string;
  /** Shown by /version. */
  readonly gitVersion: string;
  readonly serverAddress: string;
  /** The node whose use metrics.k8s.io shows. */
  readonly nodeName: string;
  /** More requests than this at once (watches and streams aside) get 429. */
  readonly maxInFlight: number;
}

export interface ApiHandlerDeps {
  readonly store: WalStore;
  readonly operations: ResourceOperations;
  readonly watches: WatchHub;
  readonly authenticator: Authenticator;
  readonly tokens: TokenSigner;
  readonly openApi: OpenApiDocuments;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random: () => number;
  readonly nodeProxy?: NodeProxy | undefined;
  /** What metrics.k8s.io shows; undefined: that group is not served. */
  readonly measure?: MeasureUse | undefined;
  readonly faults?: Faults | undefined;
}

type ResourceRequest = Extract<RequestInfo, { kind: 'resource' }>;

/** One request on its way through the handler. */
interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly query: URLSearchParams;
  readonly identity: Identity;
}

const PATCH_TYPES: Readonly<Record<string, Patch['type']>> = {
  'application/json-patch+json': 'json',
  'application/merge-patch+json': 'merge',
  'application/strategic-merge-patch+json': 'strategic',
  'application/apply-patch+yaml': 'apply',
};
const MIN_WATCH_SECONDS = 1800;
const CONNECT: ReadonlySet<string> = new Set(['log', 'exec', 'attach', 'portforward', 'proxy']);

/** Answers every request to the embedded API. */
export class ApiHandler {
  private readonly options: ApiHandlerOptions;
  private readonly deps: ApiHandlerDeps;
  private inFlight = 0;

  constructor(options: ApiHandlerOptions, deps: ApiHandlerDeps) {
    this.options = options;
    this.deps = deps;
  }

  /** Never throws; whatever goes wrong is answered as a Status. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.inFlight++;
    let long = false;
    const leave = (): void => {
      if (!long) this.inFlight--;
      long = true;
    };
    response.on('error', () => response.destroy());
    let info: RequestInfo | undefined;
    try {
      if (this.inFlight > this.options.maxInFlight) throw tooManyRequests(1);
      const [path, query] = split(request.url ?? '/');
      const identity = this.deps.authenticator.authenticate(request);
      const exchange: Exchange = { request, response, query, identity };
      const metrics = this.deps.measure === undefined ? undefined : parseMetricsPath(path);
      if (metrics !== undefined) return await this.metrics(exchange, metrics);
      info = parseRequestPath(path);
      if (info === undefined) {
        this.authorizePath(identity, request.method ?? '', path);
        await answerDiscovery({ request, response, path, query }, { ...this.options, ...this.deps });
      } else if (info.kind === 'review') {
        await this.review(exchange, info);
      } else {
        await this.resource(exchange, info, leave);
      }
    } catch (error) {
      // What is left of a body that nobody reads ends with the connection.
      if (!request.complete && !response.headersSent) response.setHeader('connection', 'close');
      this.fail(response, error, info);
    } finally {
      leave();
      if (!request.complete) request.resume();
    }
  }

  /** For connections to exec, attach and port-forward. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    try {
      const [path, query] = split(request.url ?? '/');
      const identity = this.deps.authenticator.authenticate(request);
      const info = parseRequestPath(path);
      const name = info?.kind === 'resource' ? info.name : undefined;
      const subresource = info?.kind === 'resource' ? info.subresource : undefined;
      const toNode = subresource === 'proxy';
      if (info?.kind !== 'resource' || name === undefined || !(isStream(subresource) || toNode)) {
        throw badRequest(`${path} cannot be upgraded`);
      }
      this.authorize(identity, info, request.method === 'POST' ? 'create' : 'get');
      if (!isStream(subresource)) {
        const place = nodeConnection(this.deps.store, { name, url: request.url ?? '' });
        this.proxy().upgrade(place.node, place.path, request, socket, head);
        return;
      }
      const { node, path: onward } = podConnection(this.deps.store, {
        namespace: info.namespace ?? '',
        name,
        subresource,
        query,
      });
      this.proxy().upgrade(node, onward, request, socket, head);
    } catch (error) {
      const status = statusOf(error);
      const body = JSON.stringify(status);
      socket.end(
        `HTTP/1.1 ${status.code} ${status.reason}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
      );
    }
  }

  private async resource(exchange: Exchange, info: ResourceRequest, becomeLong: () => void): Promise<void> {
    const verb = verbOf(exchange.request.method ?? '', info, exchange.query);
    this.authorize(exchange.identity, info, verb);
    const { faults, clock } = this.deps;
    if (faults !== undefined) {
      const { resource, namespace, name, subresource } = info;
      const faulted = { verb, resource: resource.type.plural, namespace, name, subresource };
      if (!(await faults.beforeRequest(faulted, exchange.response, clock))) return;
    }
    if (info.subresource !== undefined && CONNECT.has(info.subresource)) {
      becomeLong();
      return await this.connect(exchange, info);
    }
    switch (verb) {
      case 'get':
        return await this.get(exchange, info);
      case 'list':
        return await this.list(exchange, info);
      case 'watch':
        becomeLong();
        return await this.watch(exchange, info);
      case 'create':
        return await this.create(exchange, info);
      case 'update':
        return await this.update(exchange, info);
      case 'patch':
        return await this.patch(exchange, info);
      case 'delete':
        return await this.delete(exchange, info);
      case 'deletecollection':
        return await this.deleteCollection(exchange, info);
    }
  }

  private async get({ request, response, query }: Exchange, info: ResourceRequest): Promise<void> {
    const encoding = encodingOf(request, query);
    const target = targetOf(info);
    const object = await this.deps.store.durably(() => this.deps.operations.existing(target));
    sendJson(response, 200, encodeObject(info.resource.type, object, encoding, this.deps.clock.now()));
  }

  private async list({ request, response, query }: Exchange, info: ResourceRequest): Promise<void> {
    const { type } = info.resource;
    const { matches } = parseFilter(type, selection(query));
    const encoding = encodingOf(request, query);
    const { namespace } = info;
    await answerList(this.deps.store, { type, namespace, matches, encoding, query }, response, this.deps.clock.now());
  }

  private async watch({ request, response, query }: Exchange, info: ResourceRequest): Promise<void> {
    const { type } = info.resource;
    const { matches } = parseFilter(type, { ...selection(query), name: info.name });
    const since = query.get('resourceVersion') ?? '';
    const initial = flag(query, 'sendInitialEvents');
    if (initial && query.get('resourceVersionMatch') !== 'NotOlderThan') {
      throw badRequest('sendInitialEvents requires setting resourceVersionMatch to NotOlderThan');
    }
    const seconds = Number(query.get('timeoutSeconds') ?? 0);
    const timeout = seconds > 0 ? seconds : MIN_WATCH_SECONDS * (1 + this.deps.random());
    await this.deps.watches.open(
      {
        type,
        namespace: info.namespace,
        matches,
        encoding: encodingOf(request, query),
        since: since === '' || since === '0' || initial ? undefined : parseVersion(since),
        bookmarks: flag(query, 'allowWatchBookmarks'),
        markInitialEnd: initial && flag(query, 'allowWatchBookmarks'),
        timeoutMs: timeout * 1000,
      },
      response,
    );
  }

  private async create(exchange: Exchange, info: ResourceRequest): Promise<void> {
    const { request, response, query, identity } = exchange;
    if (info.subresource !== undefined) return await this.createSubresource(exchange, info);
    const options = { ...parseWriteOptions(query, request.headers['user-agent']), identity };
    const encoding = encodingOf(request, query);
    const body = await readObject(request);
    const { type } = info.resource;
    // POST to a whole collection: the object names its namespace.
    const inBody = isObject(body) && isObject(body['metadata']) ? body['metadata']['namespace'] : undefined;
    const namespace = info.namespace ?? (type.namespaced && typeof inBody === 'string' ? inBody : undefined);
    const { object, warnings } = await this.deps.operations.create(info.resource, namespace, body, options);
    addWarnings(response, warnings);
    sendJson(response, 201, encodeObject(type, object, encoding, this.deps.clock.now()));
  }

  private async update({ request, response, query }: Exchange, info: ResourceRequest): Promise<void> {
    const options = parseWriteOptions(query, request.headers['user-agent']);
    const encoding = encodingOf(request, query);
    const body = await readObject(request);
    const { object, warnings } = await this.deps.operations.update(targetOf(info), body, options);
    addWarnings(response, warnings);
    sendJson(response, 200, encodeObject(info.resource.type, object, encoding, this.deps.clock.now()));
  }

  private async patch({ request, response, query }: Exchange, info: ResourceRequest): Promise<void> {
    const options = parseWriteOptions(query, request.headers['user-agent']);
    const encoding = encodingOf(request, query);
    const contentType = contentTypeOf(request);
    const type = PATCH_TYPES[contentType];
    if (type === undefined) throw unsupportedMediaType(contentType, Object.keys(PATCH_TYPES));
    if (type === 'apply' && (query.get('fieldManager') ?? '') === '') {
      throw badRequest(
        'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
      );
    }
    if (type !== 'apply' && query.has('force')) {
      throw badRequest(
        'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch',
      );
    }
    const body = await readBody(request);
    const value = type === 'apply' ? await parseYaml(body) : parseJson(body);
    const result = await this.deps.operations.patch(targetOf(info), { type, value }, options);
    addWarnings(response, result.warnings);
    const text = encodeObject(info.resource.type, result.object, encoding, this.deps.clock.now());
    sendJson(response, result.created ? 201 : 200, text);
  }

  private async delete({ request, response, query }: Exchange, info: ResourceRequest): Promise<void> {
    const encoding = encodingOf(request, query);
    const options = await readDeleteOptions(request, query);
    const target = targetOf(info);
    const { object, gone } = await this.deps.operations.delete(target, options);
    const { type } = info.resource;
    if (gone && type.plural !== resources.pods.plural) {
      const { name, uid } = object.metadata;
      const group = type.group === '' ? {} : { group: type.group };
      sendJson(response, 200, success({ name, ...group, kind: type.plural, uid }));
      return;
    }
    sendJson(response, 200, encodeObject(type, object, encoding, this.deps.clock.now()));
  }

  private async deleteCollection({ request, response, query }: Exchange, info: ResourceRequest): Promise<void> {
    const { type } = info.resource;
    const { matches } = parseFilter(type, selection(query));
    const options = await readDeleteOptions(request, query);
    const items: KubeObject[] = [];
    const { store, operations } = this.deps;
    const wanted = store.list(type, info.namespace).filter((object) => matches?.(object) ?? true);
    const deletions = wanted.map(async ({ metadata }) => {
      const target = { resource: info.resource, namespace: metadata.namespace, name: metadata.name ?? '' };
      const { object } = await operations.delete(target, { ...options, uid: metadata.uid });
      items.push(object);
    });
    for (const result of await Promise.allSettled(deletions)) {
      // Somebody else's deletion is as good.
      if (result.status === 'rejected' && statusOf(result.reason).code !== 404) throw result.reason;
    }
    const metadata = { resourceVersion: String(store.resourceVersion) };
    sendJson(
      response,
      200,
      JSON.stringify({
        kind: `${type.kind}List`,
        apiVersion: type.group === '' ? type.version : `${type.group}/${type.version}`,
        metadata,
        items,
      }),
    );
  }

  private async createSubresource({ request, response, query }: Exchange, info: ResourceRequest): Promise<void> {
    const options = parseWriteOptions(query, request.headers['user-agent']);
    const body = await readObject(request);
    if (!isObject(body)) throw badRequest('the body must be an object');
    const { store, tokens, operations, clock } = this.deps;
    const target = { ...targetOf(info), subresource: undefined };
    const { name, namespace = '' } = target;
    switch (info.subresource) {
      case 'token': {
        const deps = { store, tokens, audience: this.options.audience };
        sendJson(response, 201, JSON.stringify(requestToken(deps, { namespace, name, body })));
        return;
      }
      case 'binding': {
        const pod = operations.existing(target) as Pod;
        const bound = bindPod(pod, body, rfc3339(clock.now()));
        if (!options.dryRun) await store.update(info.resource.type, bound);
        sendJson(response, 201, success(undefined, 201));
        return;
      }
      case 'eviction': {
        const wanted = isObject(body['deleteOptions']) ? deleteOptionsOf(body['deleteOptions']) : { dryRun: false };
        const deps = { store, operations, clock };
        await evictPod(deps, target, body, { ...wanted, dryRun: wanted.dryRun || options.dryRun });
        sendJson(response, 201, success(undefined, 201));
        return;
      }
      default:
        throw methodNotAllowed();
    }
  }

  private async connect({ request, response, query }: Exchange, info: ResourceRequest): Promise<void> {
    const { name, namespace = '', subresource } = info;
    if (name !== undefined && subresource === 'proxy') {
      const { node, path, prefix } = nodeConnection(this.deps.store, { name, url: request.url ?? '' });
      return await this.proxy().forward(node, path, request, response, prefix);
    }
    if (name === undefined || (subresource !== 'log' && !isStream(subresource))) throw methodNotAllowed();
    const { node, path } = podConnection(this.deps.store, { namespace, name, subresource, query });
    await this.proxy().forward(node, path, request, response);
  }

  private async metrics({ request, response, query, identity }: Exchange, target: MetricsTarget): Promise<void> {
    const { store, measure } = this.deps;
    if (request.method !== 'GET' || measure === undefined) throw methodNotAllowed();
    const { type, namespace = '', name = '' } = target;
    const resource = { ...type, group: METRICS_GROUP };
    const attributes = {
      verb: target.name === undefined ? 'list' : 'get',
      group: METRICS_GROUP,
      resource: type.plural,
      subresource: '',
      namespace,
      name,
    };
    this.check(identity, attributes, () => forbidden(resource, name, deniedMessage(identity, attributes)));
    const answer = await metricsAnswer(target, query, { store, measure, nodeName: this.options.nodeName });
    sendJson(response, 200, JSON.stringify(answer));
  }

  private async review(
    { request, response, identity }: Exchange,
    info: Extract<RequestInfo, { kind: 'review' }>,
  ): Promise<void> {
    if (request.method !== 'POST') throw methodNotAllowed();
    const { type } = info.review;
    const attributes = {
      verb: 'create',
      group: type.group,
      resource: type.plural,
      subresource: '',
      namespace: info.namespace ?? '',
      name: '',
    };
    this.check(identity, attributes, () => forbidden(type, '', deniedMessage(identity, attributes)));
    const { authenticator } = this.deps;
    const body = await readObject(request);
    const answer = answerReview(info.review, body, identity, { authenticator, audience: this.options.audience });
    sendJson(response, 201, JSON.stringify(answer));
  }

  private authorize(identity: Identity, info: ResourceRequest, verb: Verb): void {
    const { type } = info.resource;
    const attributes = {
      verb,
      group: type.group,
      resource: type.plural,
      subresource: info.subresource ?? '',
      namespace: info.namespace ?? '',
      name: info.name ?? '',
    };
    this.check(identity, attributes, () => forbidden(type, info.name ?? '', deniedMessage(identity, attributes)));
  }

  private authorizePath(identity: Identity, method: string, path: string): void {
    const attributes = {
      verb: method.toLowerCase(),
      group: '',
      resource: '',
      subresource: '',
      namespace: '',
      name: '',
      path,
    };
    this.check(identity, attributes, () => {
      return new StatusError('Forbidden', 403, 'Forbidden', `forbidden: ${deniedMessage(identity, attributes)}`, {});
    });
  }

  private check(identity: Identity, attributes: Attributes, denied: () => StatusError): void {
    if (isAllowed(identity, attributes)) return;
    // Who shows no credentials is asked for some.
    throw identity.groups.includes('system:unauthenticated') ? unauthorized() : denied();
  }

  private proxy(): NodeProxy {
    const { nodeProxy } = this.deps;
    if (nodeProxy !== undefined) return nodeProxy;
    const message = 'this API server has no way to the API of its node';
    throw new StatusError('Unimplemented', 501, 'NotImplemented', message);
  }

  private fail(response: ServerResponse, error: unknown, info: RequestInfo | undefined): void {
    if (response.headersSent) {
      response.destroy();
      return;
    }
    const about = info?.kind === 'resource' ? { type: info.resource.type, name: info.name } : undefined;
    const status = statusOf(error, about);
    if ((status.code ?? 500) >= 500) {
      this.deps.log.warn(
        { error: messageOf(error), code: status.code, reason: status.reason },
        'a request to the API failed',
      );
    }
    sendStatus(response, status);
  }
}

function split(url: string): [path: string, query: URLSearchParams] {
  const at = url.indexOf('?');
  return at < 0 ? [url, new URLSearchParams()] : [url.slice(0, at), new URLSearchParams(url.slice(at + 1))];
}

function verbOf(method: string, { name, subresource, resource }: ResourceRequest, query: URLSearchParams): Verb {
  const one = name !== undefined;
  const verb = ((): Verb | undefined => {
    switch (method) {
      case 'GET':
        if (subresource === undefined && flag(query, 'watch')) return 'watch';
        return one ? 'get' : 'list';
      case 'POST':
        return one && subresource === undefined ? undefined : 'create';
      case 'PUT':
        return one ? 'update' : undefined;
      case 'PATCH':
        return one ? 'patch' : undefined;
      case 'DELETE':
        return one ? 'delete' : 'deletecollection';
      default:
        return undefined;
    }
  })();
  const served =
    subresource === undefined ? undefined : resource.subresources.find(({ name: own }) => own === subresource);
  if (verb === undefined || (served !== undefined && !served.verbs.includes(verb))) throw methodNotAllowed();
  return verb;
}

function targetOf({ resource, namespace, name = '', subresource }: ResourceRequest): Target {
  return { resource, namespace, name, subresource };
}

function encodingOf(request: IncomingMessage, query: URLSearchParams): Encoding {
  const include = query.get('includeObject');
  const known: IncludeObject = include === 'None' || include === 'Object' ? include : 'Metadata';
  return { as: negotiate(request.headers.accept, true), include: known };
}

function selection(query: URLSearchParams): { labelSelector: string; fieldSelector: string } {
  return { labelSelector: query.get('labelSelector') ?? '', fieldSelector: query.get('fieldSelector') ?? '' };
}

function flag(query: URLSearchParams, name: string): boolean {
  const value = query.get(name);
  return value === 'true' || value === '1';
}

function isStream(subresource: string | undefined): subresource is 'exec' | 'attach' | 'portforward' {
  return subresource === 'exec' || subresource === 'attach' || subresource === 'portforward';
}

async function readDeleteOptions(request: IncomingMessage, query: URLSearchParams): Promise<DeleteOptions> {
  const body = await readObject(request);
  const options = deleteOptionsOf(isObject(body) ? body : {});
  const grace = query.get('gracePeriodSeconds');
  return {
    ...options,
    ...(grace === null || grace === '' ? {} : { gracePeriodSeconds: wholeNumber(Number(grace)) }),
    dryRun: options.dryRun || query.getAll('dryRun').includes('All'),
  };
}

function deleteOptionsOf(body: Readonly<Record<string, unknown>>): DeleteOptions {
  const grace = body['gracePeriodSeconds'];
  const preconditions = isObject(body['preconditions']) ? body['preconditions'] : {};
  const { uid, resourceVersion } = preconditions;
  const dryRun = body['dryRun'];
  return {
    gracePeriodSeconds: grace === undefined || grace === null ? undefined : wholeNumber(grace),
    uid: typeof uid === 'string' ? uid : undefined,
    resourceVersion: typeof resourceVersion === 'string' ? resourceVersion : undefined,
    dryRun: Array.isArray(dryRun) && dryRun.includes('All'),
  };
}

function wholeNumber(value: unknown): number {
  if (typeof value !== 'number' || !Number.isInteger(value)) {
    throw badRequest(`gracePeriodSeconds must be a whole number of seconds, not ${JSON.stringify(value)}`);
  }
  return value;
}

function success(details: object | undefined, code?: number): string {
  return JSON.stringify({
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    ...(details === undefined ? {} : { details }),
    ...(code === undefined ? {} : { code }),
  });
}

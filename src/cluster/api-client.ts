import type { IncomingHttpHeaders } from 'node:http';
import { pipeline, type Readable } from 'node:stream';
import type { Clock } from '../kit/clock.ts';
import { CodedError, type Metadata, messageOf } from '../kit/errors.ts';
import { type Logger, silent } from '../kit/log.ts';
import { TokenBucket } from '../kit/token-bucket.ts';
import type { ApiStatus, KubeList, KubeObject, ListMeta } from '../model/meta.ts';
import { pathOf, type ResourceType } from '../model/resource.ts';
import { errorOfAnswer, errorOfStatus, type RequestFacts, retryAfterOf } from './api-error.ts';
import { ApiTransport } from './api-transport.ts';
import { type Authorization, ConnectionCredentials } from './connection-credentials.ts';
import type { ApiConnection, Impersonation } from './kubeconfig.ts';
import { LineSplitter } from './line-splitter.ts';
import { ListScanner } from './list-scanner.ts';
import type { ApiClient, ListOptions, PatchType, Selection, Target, WatchEvent } from './port.ts';
import { RequestStop } from './request-stop.ts';
import type { RestClientMetrics } from './rest-client-metrics.ts';

export interface HttpApiClientOptions {
  readonly connection: ApiConnection;
  /** kubelet's kubeAPIQPS and kubeAPIBurst; zero or less is no limit. Default 50 and 100. */
  readonly qps?: number;
  readonly burst?: number;
  /** A whole request, waiting for Retry-After included; for a list, the time in which nothing comes. Default 30 s. */
  readonly requestTimeoutMs?: number;
  /** A watch that brings nothing, not even a bookmark (a server sends one each minute), for this long is dead. Default 180 s. */
  readonly watchSilenceMs?: number;
  /** The longest line of a watch and the longest element of a list. Default 16 MiB. */
  readonly lineLimit?: number;
  readonly userAgent?: string;
  /** Names this writer in managedFields and owns what apply sets. Default "deckhand". */
  readonly fieldManager?: string;
}

export interface HttpApiClientDeps {
  readonly clock: Clock;
  readonly metrics?: RestClientMetrics | undefined;
  readonly logger?: Logger;
  /** Shared with other clients, which have limits of their own. Default: one for itself, closed with it. */
  readonly transport?: ApiTransport;
}

const PATCH_CONTENT: Readonly<Record<PatchType, string>> = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
};

/** client-go asks again up to ten times where the server says Retry-After; the deadline usually ends it sooner. */
const MOST_RETRIES = 10;
/** Sent again where that is safe: a server that goes away may refuse on more than one connection. */
const MOST_RESENDS = 3;
const ANSWER_LIMIT = 64 * 1024 * 1024;

interface Sent {
  readonly verb: string;
  readonly method: string;
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly body?: unknown;
  readonly contentType?: string;
}

/** A Kubernetes API server over HTTP/2 or HTTP/1.1. See `ApiClient` for its errors. */
export class HttpApiClient implements ApiClient {
  private readonly options: HttpApiClientOptions;
  private readonly clock: Clock;
  private readonly metrics: RestClientMetrics | undefined;
  private readonly bucket: TokenBucket;
  private readonly transport: ApiTransport;
  private readonly credentials: ConnectionCredentials;
  /** Not shared. */
  private readonly own: boolean;
  private readonly basePath: string;
  private readonly fixedHeaders: Readonly<Record<string, string | string[]>>;
  private readonly stopped = new AbortController();

  constructor(options: HttpApiClientOptions, deps: HttpApiClientDeps) {
    this.options = options;
    this.clock = deps.clock;
    this.metrics = deps.metrics;
    this.bucket = new TokenBucket({ perSecond: options.qps ?? 50, burst: options.burst ?? 100 }, deps.clock);
    const { connection } = options;
    this.basePath = connection.server.pathname.replace(/\/$/, '');
    this.own = deps.transport === undefined;
    this.transport =
      deps.transport ??
      new ApiTransport(
        {},
        {
          credentials: new ConnectionCredentials(connection, { logger: silent, ...deps }),
          clock: deps.clock,
        },
      );
    this.credentials = this.transport.credentials;
    this.fixedHeaders = {
      accept: 'application/json',
      'user-agent': options.userAgent ?? 'deckhand',
      ...impersonationHeaders(connection.impersonate),
    };
  }

  get<T extends KubeObject>(type: ResourceType, target: Target, signal?: AbortSignal): Promise<T> {
    return this.json<T>({ verb: 'get', method: 'GET', path: pathOf(type, target) }, signal);
  }

  async list<T extends KubeObject>(
    type: ResourceType,
    options: ListOptions,
    signal?: AbortSignal,
  ): Promise<KubeList<T>> {
    const items: T[] = [];
    const metadata = await this.listEach<T>(type, options, (item) => items.push(item), signal);
    return { metadata, items };
  }

  async listEach<T extends KubeObject>(
    type: ResourceType,
    options: ListOptions,
    onItem: (item: T) => void,
    signal?: AbortSignal,
  ): Promise<ListMeta> {
    const sent: Sent = {
      verb: 'list',
      method: 'GET',
      path: pathOf(type, { namespace: options.namespace }),
      query: {
        labelSelector: options.labelSelector,
        fieldSelector: options.fieldSelector,
        limit: options.limit?.toString(),
        continue: options.continue,
        resourceVersion: options.resourceVersion,
      },
    };
    return await this.answered(sent, signal, async (body, stop) => {
      const scanner = new ListScanner((item) => onItem(item as T), this.lineLimit);
      for await (const chunk of body as AsyncIterable<Buffer>) {
        stop.extend();
        scanner.push(chunk);
      }
      return scanner.end().metadata;
    });
  }

  create<T extends KubeObject>(type: ResourceType, target: Target, object: unknown, signal?: AbortSignal): Promise<T> {
    // The collection takes new objects; a subresource (token, binding, eviction) is posted to below its object.
    const where = target.subresource === undefined ? { namespace: target.namespace } : target;
    return this.json<T>(
      { verb: 'create', method: 'POST', path: pathOf(type, where), query: this.manager(), body: object },
      signal,
    );
  }

  update<T extends KubeObject>(type: ResourceType, target: Target, object: T, signal?: AbortSignal): Promise<T> {
    return this.json<T>(
      { verb: 'update', method: 'PUT', path: pathOf(type, target), query: this.manager(), body: object },
      signal,
    );
  }

  patch<T extends KubeObject>(
    type: ResourceType,
    target: Target,
    patch: unknown,
    patchType: PatchType,
    signal?: AbortSignal,
  ): Promise<T> {
    return this.json<T>(
      {
        verb: 'patch',
        method: 'PATCH',
        path: pathOf(type, target),
        query: patchType === 'apply' ? { ...this.manager(), force: 'true' } : this.manager(),
        body: patch,
        contentType: PATCH_CONTENT[patchType],
      },
      signal,
    );
  }

  async delete(
    type: ResourceType,
    target: Target,
    options: { gracePeriodSeconds?: number; uid?: string } = {},
    signal?: AbortSignal,
  ): Promise<void> {
    const { gracePeriodSeconds, uid } = options;
    await this.json(
      {
        verb: 'delete',
        method: 'DELETE',
        path: pathOf(type, target),
        body: {
          apiVersion: 'v1',
          kind: 'DeleteOptions',
          ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }),
          ...(uid === undefined ? {} : { preconditions: { uid } }),
        },
      },
      signal,
    );
  }

  async *watch<T extends KubeObject>(
    type: ResourceType,
    options: Selection & { namespace?: string; resourceVersion: string; timeoutSeconds?: number },
    signal: AbortSignal,
  ): AsyncGenerator<WatchEvent<T>> {
    const sent: Sent = {
      verb: 'watch',
      method: 'GET',
      path: pathOf(type, { namespace: options.namespace }),
      query: {
        watch: 'true',
        allowWatchBookmarks: 'true',
        resourceVersion: options.resourceVersion,
        labelSelector: options.labelSelector,
        fieldSelector: options.fieldSelector,
        timeoutSeconds: options.timeoutSeconds?.toString(),
      },
    };
    const silenceMs = this.options.watchSilenceMs ?? 180_000;
    const stop = new RequestStop(this.clock, silenceMs, signal);
    let retired = false;
    let body: Readable | undefined;
    try {
      body = await this.open(sent, stop.signal, Number.POSITIVE_INFINITY, () => {
        // The connection is to be left. What has come is worth having; then the watch ends as if the server had ended it.
        retired = true;
        body?.destroy();
      });
      if (retired) return;
      stop.extend();
      const lines = new LineSplitter(this.lineLimit);
      for await (const chunk of body as AsyncIterable<Buffer>) {
        stop.extend();
        for (const line of lines.push(chunk)) yield watchEventOf<T>(sent, line);
        if (signal.aborted || retired) return;
      }
    } catch (error) {
      if (retired || stop.cause === 'caller') return;
      throw stop.cause === 'time' ? tooLate(sent, silenceMs) : classified(sent, error);
    } finally {
      stop.end();
      body?.destroy();
    }
  }

  close(): void {
    this.stopped.abort();
    if (!this.own) return;
    this.transport.close();
    this.credentials.close();
  }

  private get lineLimit(): number {
    return this.options.lineLimit ?? 16 * 1024 * 1024;
  }

  private manager(): Record<string, string> {
    return { fieldManager: this.options.fieldManager ?? 'deckhand' };
  }

  private json<T>(sent: Sent, signal: AbortSignal | undefined): Promise<T> {
    return this.answered(sent, signal, async (body) => {
      const text = await textOf(body);
      try {
        return JSON.parse(text) as T;
      } catch {
        // The parser's message quotes the text, which may be a Secret's.
        throw new CodedError('Unavailable', `${sent.verb} ${sent.path}: the answer is not JSON`, metadataOf(sent));
      }
    });
  }

  /** Reads a successful answer, and says of every failure what it is. */
  private async answered<T>(
    sent: Sent,
    signal: AbortSignal | undefined,
    read: (body: Readable, stop: RequestStop) => Promise<T>,
  ): Promise<T> {
    const timeoutMs = this.options.requestTimeoutMs ?? 30_000;
    const stop = new RequestStop(this.clock, timeoutMs, signal);
    let body: Readable | undefined;
    try {
      body = await this.open(sent, stop.signal, this.clock.monotonic() + timeoutMs);
      return await read(body, stop);
    } catch (error) {
      if (stop.cause === 'caller') throw stopped(sent);
      throw stop.cause === 'time' ? tooLate(sent, timeoutMs) : classified(sent, error);
    } finally {
      stop.end();
      body?.destroy();
    }
  }

  /** The answer's body, known to be that of a success. Asks again where the server says when to. */
  private async open(sent: Sent, stop: AbortSignal, deadline: number, onRetire?: () => void): Promise<Readable> {
    const { metrics, clock } = this;
    const { host } = this.transport;
    let renewed = false;
    for (let attempt = 0; ; attempt++) {
      const asked = clock.monotonic();
      await this.bucket.take(stop);
      const begun = clock.monotonic();
      metrics?.waited(sent.method, host, begun - asked);
      const { status, headers, body, authorization } = await this.send(sent, stop, onRetire);
      if (sent.verb !== 'watch') metrics?.took(sent.method, host, clock.monotonic() - begun);
      if (status >= 200 && status < 300) return await decoded(headers, body);
      const retryAfter = retryAfterOf(headers['retry-after'], clock.now());
      const text = await textOf(await decoded(headers, body));
      if (status === 401 && !renewed) {
        // A token may have been replaced, a plugin's have run out: those who can say it anew are asked once more.
        renewed = true;
        if (await this.credentials.refused(authorization)) continue;
      }
      const facts = status === 401 ? { ...sent, as: this.credentials.describe() } : sent;
      const error = errorOfAnswer(facts, status, text, retryAfter);
      const worthWaiting = (status === 429 || status >= 500) && retryAfter !== undefined && attempt < MOST_RETRIES;
      if (!worthWaiting || clock.monotonic() + retryAfter >= deadline) throw error;
      await clock.sleep(retryAfter, stop);
    }
  }

  private async send(
    sent: Sent,
    signal: AbortSignal,
    onRetire: (() => void) | undefined,
  ): Promise<{ status: number; headers: IncomingHttpHeaders; body: Readable; authorization: Authorization }> {
    const body = sent.body === undefined ? undefined : Buffer.from(JSON.stringify(sent.body));
    const long = sent.verb === 'watch';
    const zipped = !long && this.options.connection.disableCompression !== true;
    const path = this.basePath + sent.path + queryOf(sent.query);
    for (let attempt = 0; ; attempt++) {
      if (this.stopped.signal.aborted) {
        throw new CodedError('Aborted', `${sent.verb} ${sent.path}: the client is closed`);
      }
      signal.throwIfAborted();
      const authorization = await this.credentials.authorization();
      const headers: Record<string, string | number | string[]> = { ...this.fixedHeaders };
      if (zipped) headers['accept-encoding'] = 'gzip';
      if (authorization.header !== undefined) headers['authorization'] = authorization.header;
      if (body !== undefined) {
        headers['content-type'] = sent.contentType ?? 'application/json';
        headers['content-length'] = body.length;
      }
      const outcome = await this.transport.request({
        method: sent.method,
        path,
        headers,
        body,
        long,
        signal,
        onRetire,
      });
      if (!('error' in outcome)) {
        this.metrics?.requested(sent.method, String(outcome.status), this.transport.host);
        return { ...outcome, authorization };
      }
      this.metrics?.requested(sent.method, '<error>', this.transport.host);
      const safe = outcome.retry === 'always' || (outcome.retry === 'reads' && sent.method === 'GET');
      if (!safe || attempt >= MOST_RESENDS || signal.aborted) throw outcome.error;
    }
  }
}

function watchEventOf<T extends KubeObject>(facts: RequestFacts, line: string): WatchEvent<T> {
  let event: { type?: string; object?: unknown };
  try {
    event = JSON.parse(line) as typeof event;
  } catch {
    // The parser's message quotes the line, which may be a Secret's.
    throw new CodedError('Unavailable', `${facts.verb} ${facts.path}: a line is not JSON`, metadataOf(facts));
  }
  switch (event.type) {
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED':
      return { type: event.type, object: event.object as T };
    case 'BOOKMARK':
      return { type: 'BOOKMARK', resourceVersion: (event.object as KubeObject).metadata.resourceVersion ?? '' };
    case 'ERROR':
      throw errorOfStatus(facts, event.object as ApiStatus);
    default:
      throw new CodedError('Unavailable', `${facts.verb} ${facts.path}: unknown event type ${event.type ?? 'none'}`);
  }
}

async function textOf(body: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > ANSWER_LIMIT) {
      body.destroy();
      throw new CodedError('ResourceExhausted', `reading an answer: more than ${ANSWER_LIMIT} bytes, the limit`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Destroying what this answers destroys `body`, too. */
async function decoded(headers: IncomingHttpHeaders, body: Readable): Promise<Readable> {
  if (headers['content-encoding'] !== 'gzip') return body;
  const { createGunzip } = await import('node:zlib');
  // The reader hears of errors from what it reads.
  return pipeline(body, createGunzip(), () => {});
}

/** The names of client-go's transport/round_trippers.go; keys of extra are written as header names may be. */
function impersonationHeaders(as: Impersonation | undefined): Record<string, string | string[]> {
  if (as === undefined) return {};
  const headers: Record<string, string | string[]> = { 'impersonate-user': as.user };
  if (as.uid !== undefined) headers['impersonate-uid'] = as.uid;
  if (as.groups.length > 0) headers['impersonate-group'] = [...as.groups];
  for (const [key, values] of Object.entries(as.extra)) {
    const name = [...Buffer.from(key)]
      .map((byte) => {
        const character = String.fromCharCode(byte);
        const plain = /[A-Za-z0-9!#$&'*+.^_`|~-]/.test(character);
        return plain ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
      })
      .join('');
    headers[`impersonate-extra-${name.toLowerCase()}`] = [...values];
  }
  return headers;
}

function queryOf(query: Sent['query']): string {
  if (query === undefined) return '';
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) parameters.set(name, value);
  }
  const text = parameters.toString();
  return text === '' ? '' : `?${text}`;
}

function classified(facts: RequestFacts, error: unknown): CodedError {
  if (error instanceof CodedError) {
    // From below a request (connections, credentials): it does not say what was asked.
    if (error.metadata['verb'] !== undefined) return error;
    const metadata = { ...error.metadata, ...metadataOf(facts) };
    return new CodedError(error.code, `${facts.verb} ${facts.path}: ${error.message}`, metadata, error);
  }
  const cause = error instanceof Error && 'code' in error ? String(error.code) : undefined;
  return new CodedError(
    'Unavailable',
    `${facts.verb} ${facts.path}: ${messageOf(error)}`,
    { ...metadataOf(facts), reason: cause },
    error,
  );
}

function stopped(facts: RequestFacts): CodedError {
  return new CodedError('Aborted', `${facts.verb} ${facts.path}: stopped by the caller`, metadataOf(facts));
}

function tooLate(facts: RequestFacts, limitMs: number): CodedError {
  return new CodedError(
    'DeadlineExceeded',
    `${facts.verb} ${facts.path}: nothing came from the server for ${limitMs} ms`,
    metadataOf(facts),
  );
}

function metadataOf(facts: RequestFacts): Metadata {
  return { verb: facts.verb, path: facts.path };
}

import { readFile } from 'node:fs/promises';
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { Clock } from '../kit/clock.ts';
import { CodedError, type Metadata, messageOf } from '../kit/errors.ts';
import type { Metrics } from '../kit/metrics.ts';
import { TokenBucket } from '../kit/token-bucket.ts';
import type { ApiStatus, KubeList, KubeObject } from '../model/meta.ts';
import { pathOf, type ResourceType } from '../model/resource.ts';
import { errorOfAnswer, errorOfStatus, type RequestFacts, retryAfterOf } from './api-error.ts';
import type { ApiConnection } from './kubeconfig.ts';
import { LineSplitter } from './line-splitter.ts';
import type { ApiClient, PatchType, Selection, Target, WatchEvent } from './port.ts';
import { RequestStop } from './request-stop.ts';

export interface HttpApiClientOptions {
  readonly connection: ApiConnection;
  /** kubelet's kubeAPIQPS and kubeAPIBurst; zero or less is no limit. Default 50 and 100. */
  readonly qps?: number;
  readonly burst?: number;
  /** A whole request, waiting for Retry-After included; not a watch. Default 30 s. */
  readonly requestTimeoutMs?: number;
  /** A watch that brings nothing, not even a bookmark (a server sends one each minute), for this long is dead. Default 180 s. */
  readonly watchSilenceMs?: number;
  /** Connections for requests other than watches; more requests wait for a free one. Default 8. */
  readonly maxConnections?: number;
  /** The longest line of a watch. Default 16 MiB. */
  readonly lineLimit?: number;
  readonly userAgent?: string;
  /** Names this writer in managedFields and owns what apply sets. Default "deckhand". */
  readonly fieldManager?: string;
}

const PATCH_CONTENT: Readonly<Record<PatchType, string>> = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
};

/** client-go re-reads a token file when what it has is a minute old (transport/token_source.go). */
const TOKEN_FILE_AGE_MS = 60_000;
/** client-go asks again up to ten times where the server says Retry-After; the deadline usually ends it sooner. */
const MOST_RETRIES = 10;
/** A TLS handshake costs more than most requests: a burst waits for connections that are there already. */
const REQUEST_CONNECTIONS = 8;
const ANSWER_LIMIT = 512 * 1024 * 1024;

interface Sent {
  readonly verb: string;
  readonly method: string;
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly body?: unknown;
  readonly contentType?: string;
}

/** The API over HTTP/1.1 with kept-alive connections. See `ApiClient` for its errors. */
export class HttpApiClient implements ApiClient {
  private readonly options: HttpApiClientOptions;
  private readonly clock: Clock;
  private readonly bucket: TokenBucket;
  /** Watches hold a connection each for as long as they live; requests share a few. */
  private readonly watchAgent: HttpAgent | HttpsAgent;
  private readonly requestAgent: HttpAgent | HttpsAgent;
  private readonly requests: ((verb: string, code: string) => void) | undefined;
  private readonly basePath: string;
  private fileToken: { readonly text: string; readonly at: number } | undefined;
  private closed = false;

  constructor(options: HttpApiClientOptions, deps: { readonly clock: Clock; readonly metrics?: Metrics | undefined }) {
    this.options = options;
    this.clock = deps.clock;
    this.bucket = new TokenBucket({ perSecond: options.qps ?? 50, burst: options.burst ?? 100 }, deps.clock);
    const { connection } = options;
    this.basePath = connection.server.pathname.replace(/\/$/, '');
    this.watchAgent = agentFor(connection, Number.POSITIVE_INFINITY);
    this.requestAgent = agentFor(connection, options.maxConnections ?? REQUEST_CONNECTIONS);
    this.requests = requestCounter(deps.metrics);
  }

  get<T extends KubeObject>(type: ResourceType, target: Target, signal?: AbortSignal): Promise<T> {
    return this.json<T>({ verb: 'get', method: 'GET', path: pathOf(type, target) }, signal);
  }

  async list<T extends KubeObject>(
    type: ResourceType,
    options: Selection & { namespace?: string; limit?: number; continue?: string; resourceVersion?: string },
    signal?: AbortSignal,
  ): Promise<KubeList<T>> {
    const page = await this.json<KubeList<T>>(
      {
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
      },
      signal,
    );
    // An empty Go slice may come as null.
    page.items ??= [];
    return page;
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
    const stop = new RequestStop(this.clock, this.options.watchSilenceMs ?? 180_000, signal);
    let answer: IncomingMessage | undefined;
    try {
      answer = await this.open(sent, stop.signal);
      stop.extend();
      const lines = new LineSplitter(this.options.lineLimit ?? 16 * 1024 * 1024);
      for await (const chunk of answer as AsyncIterable<Buffer>) {
        stop.extend();
        for (const line of lines.push(chunk)) yield watchEventOf<T>(sent, line);
        if (signal.aborted) return;
      }
    } catch (error) {
      if (stop.cause === 'caller') return;
      throw stop.cause === 'time' ? tooLate(sent, this.options.watchSilenceMs ?? 180_000) : classified(sent, error);
    } finally {
      stop.end();
      answer?.destroy();
    }
  }

  close(): void {
    this.closed = true;
    this.watchAgent.destroy();
    this.requestAgent.destroy();
  }

  private manager(): Record<string, string> {
    return { fieldManager: this.options.fieldManager ?? 'deckhand' };
  }

  private async json<T>(sent: Sent, signal: AbortSignal | undefined): Promise<T> {
    const timeoutMs = this.options.requestTimeoutMs ?? 30_000;
    const stop = new RequestStop(this.clock, timeoutMs, signal);
    try {
      const answer = await this.open(sent, stop.signal, this.clock.monotonic() + timeoutMs);
      return JSON.parse(await bodyOf(answer)) as T;
    } catch (error) {
      if (stop.cause === 'caller') throw stopped(sent);
      throw stop.cause === 'time' ? tooLate(sent, timeoutMs) : classified(sent, error);
    } finally {
      stop.end();
    }
  }

  /** The answer's head, known to be a success. Asks again where the server says when to. */
  private async open(sent: Sent, stop: AbortSignal, deadline = Number.POSITIVE_INFINITY): Promise<IncomingMessage> {
    for (let attempt = 0; ; attempt++) {
      await this.bucket.take(stop);
      const answer = await this.send(sent, stop);
      const status = answer.statusCode ?? 0;
      this.requests?.(sent.method, String(status));
      if (status >= 200 && status < 300) return answer;
      const retryAfter = retryAfterOf(answer.headers['retry-after'], this.clock.now());
      const error = errorOfAnswer(sent, status, await bodyOf(answer), retryAfter);
      // The next request reads the file anew: the token may have been replaced before its minute was over.
      if (status === 401) this.fileToken = undefined;
      const worthWaiting = (status === 429 || status === 503) && retryAfter !== undefined && attempt < MOST_RETRIES;
      if (!worthWaiting || this.clock.monotonic() + retryAfter >= deadline) throw error;
      await this.clock.sleep(retryAfter, stop);
    }
  }

  private async send(sent: Sent, stop: AbortSignal): Promise<IncomingMessage> {
    const body = sent.body === undefined ? undefined : Buffer.from(JSON.stringify(sent.body));
    const headers: Record<string, string | number> = {
      accept: 'application/json',
      'user-agent': this.options.userAgent ?? 'deckhand',
    };
    const token = await this.token();
    if (token !== undefined) headers['authorization'] = `Bearer ${token}`;
    if (body !== undefined) {
      headers['content-type'] = sent.contentType ?? 'application/json';
      headers['content-length'] = body.length;
    }
    for (let attempt = 0; ; attempt++) {
      if (this.closed) throw new CodedError('Aborted', `${sent.verb} ${sent.path}: the client is closed`);
      stop.throwIfAborted();
      const outcome = await this.once(sent, headers, body, stop);
      if ('answer' in outcome) return outcome.answer;
      // A kept connection that the server closed at the same moment says nothing about the server: reading again is safe.
      if (outcome.reused && sent.method === 'GET' && attempt < 2 && !stop.aborted) continue;
      throw outcome.error;
    }
  }

  private once(
    sent: Sent,
    headers: Record<string, string | number>,
    body: Buffer | undefined,
    stop: AbortSignal,
  ): Promise<{ answer: IncomingMessage } | { error: unknown; reused: boolean }> {
    const { server } = this.options.connection;
    const options: RequestOptions = {
      agent: sent.verb === 'watch' ? this.watchAgent : this.requestAgent,
      hostname: server.hostname.replace(/^\[|\]$/g, ''),
      port: server.port === '' ? (server.protocol === 'http:' ? 80 : 443) : server.port,
      method: sent.method,
      path: this.basePath + sent.path + queryOf(sent.query),
      headers,
      signal: stop,
    };
    return new Promise((resolve) => {
      const request = (server.protocol === 'http:' ? httpRequest : httpsRequest)(options, (answer) =>
        resolve({ answer }),
      );
      request.on('error', (error) => {
        this.requests?.(sent.method, '<error>');
        resolve({ error, reused: request.reusedSocket });
      });
      request.end(body);
    });
  }

  private async token(): Promise<string | undefined> {
    const { token, tokenFile } = this.options.connection;
    if (tokenFile === undefined) return token;
    const now = this.clock.monotonic();
    if (this.fileToken === undefined || now - this.fileToken.at >= TOKEN_FILE_AGE_MS) {
      try {
        this.fileToken = { text: (await readFile(tokenFile, 'utf8')).trim(), at: now };
      } catch (error) {
        if (this.fileToken === undefined && token === undefined) {
          throw new CodedError('Unauthorized', `reading the token file ${tokenFile}: ${messageOf(error)}`, {}, error);
        }
      }
    }
    return this.fileToken?.text ?? token;
  }
}

function watchEventOf<T extends KubeObject>(facts: RequestFacts, line: string): WatchEvent<T> {
  let event: { type?: string; object?: unknown };
  try {
    event = JSON.parse(line) as typeof event;
  } catch (error) {
    throw new CodedError(
      'Unavailable',
      `${facts.verb} ${facts.path}: a line is not JSON: ${messageOf(error)}`,
      metadataOf(facts),
    );
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

async function bodyOf(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > ANSWER_LIMIT) {
      answer.destroy();
      throw new CodedError('ResourceExhausted', `reading an answer: more than ${ANSWER_LIMIT} bytes, the limit`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
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
  if (error instanceof CodedError) return error;
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

function requestCounter(metrics: Metrics | undefined): ((method: string, code: string) => void) | undefined {
  if (metrics === undefined) return undefined;
  const counter = metrics.counter('rest_client_requests_total', 'Requests to the API server by method and answer.', [
    'code',
    'method',
  ]);
  return (method, code) => counter.inc({ code, method });
}

function agentFor(connection: ApiConnection, maxSockets: number): HttpAgent | HttpsAgent {
  const shared = {
    keepAlive: true,
    keepAliveMsecs: 15_000,
    maxFreeSockets: 8,
    maxSockets,
    scheduling: 'lifo',
  } as const;
  if (connection.server.protocol === 'http:') return new HttpAgent(shared);
  return new HttpsAgent({
    ...shared,
    rejectUnauthorized: connection.insecureSkipVerify !== true,
    ...(connection.ca === undefined ? {} : { ca: connection.ca }),
    ...(connection.cert === undefined ? {} : { cert: connection.cert }),
    ...(connection.key === undefined ? {} : { key: connection.key }),
    ...(connection.serverName === undefined ? {} : { servername: connection.serverName }),
  });
}

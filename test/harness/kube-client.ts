import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import type { Agent } from 'node:https';
import { createInterface } from 'node:readline';
import type { ConnectionOptions } from 'node:tls';
import { parse } from 'yaml';
import type { ApiStatus, KubeList, KubeObject } from '../../src/model/meta.ts';
import { pathOf, type ResourceType } from '../../src/model/resource.ts';
import type { NetnsDialer } from './netns-dialer.ts';

interface KubeconfigFile {
  readonly clusters: readonly { cluster: Record<string, string> }[];
  readonly users: readonly { user: Record<string, string> }[];
}

export interface WatchLine<T> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: T;
}

/** A failure that the API answered with. */
export class ApiFailure extends Error {
  readonly status: number;
  readonly reason: string;

  constructor(status: number, reason: string, message: string) {
    super(message);
    this.name = 'ApiFailure';
    this.status = status;
    this.reason = reason;
  }
}

/**
 * A plain client of an API server in another namespace, with nothing of deckhand's own client in it: what it sees is what
 * any client sees.
 */
export class KubeClient {
  readonly server: string;
  private readonly dialer: NetnsDialer;
  private readonly tls: ConnectionOptions;
  private agent: Agent | undefined;
  private readonly headers: Readonly<Record<string, string>>;

  constructor(dialer: NetnsDialer, kubeconfigFile: string) {
    const file = parse(readFileSync(kubeconfigFile, 'utf8')) as KubeconfigFile;
    const cluster = file.clusters[0]?.cluster ?? {};
    const user = file.users[0]?.user ?? {};
    const pem = (from: Record<string, string>, key: string): string | undefined => {
      const data = from[`${key}-data`];
      if (data !== undefined) return Buffer.from(data, 'base64').toString();
      const path = from[key];
      return path === undefined ? undefined : readFileSync(path, 'utf8');
    };
    const ca = pem(cluster, 'certificate-authority');
    const cert = pem(user, 'client-certificate');
    const key = pem(user, 'client-key');
    this.dialer = dialer;
    this.server = cluster['server'] ?? '';
    this.tls = { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
    this.headers = user['token'] === undefined ? {} : { authorization: `Bearer ${user['token']}` };
  }

  get<T extends KubeObject>(type: ResourceType, namespace: string | undefined, name: string): Promise<T> {
    return this.call<T>('GET', pathOf(type, { namespace, name }));
  }

  async find<T extends KubeObject>(type: ResourceType, namespace: string | undefined, name: string) {
    try {
      return await this.get<T>(type, namespace, name);
    } catch (error) {
      if (error instanceof ApiFailure && error.status === 404) return undefined;
      throw error;
    }
  }

  async list<T extends KubeObject>(type: ResourceType, namespace?: string, query = ''): Promise<T[]> {
    return (await this.call<KubeList<T>>('GET', `${pathOf(type, { namespace })}${query}`)).items;
  }

  create<T extends KubeObject>(type: ResourceType, object: T): Promise<T> {
    const namespace = type.namespaced ? (object.metadata.namespace ?? 'default') : undefined;
    return this.call<T>('POST', pathOf(type, { namespace }), object);
  }

  update<T extends KubeObject>(type: ResourceType, object: T): Promise<T> {
    const { namespace, name } = object.metadata;
    return this.call<T>('PUT', pathOf(type, { namespace, name }), object);
  }

  mergePatch<T extends KubeObject>(
    type: ResourceType,
    namespace: string | undefined,
    name: string,
    patch: unknown,
    subresource?: string,
  ): Promise<T> {
    return this.call<T>('PATCH', pathOf(type, { namespace, name, subresource }), patch, 'application/merge-patch+json');
  }

  /** A merge patch of the status alone. */
  patchStatus<T extends KubeObject>(type: ResourceType, namespace: string | undefined, name: string, status: unknown) {
    const path = pathOf(type, { namespace, name, subresource: 'status' });
    return this.call<T>('PATCH', path, { status }, 'application/merge-patch+json');
  }

  /** A strategic merge patch of one of an object's subresources, such as "resize". */
  patchSubresource<T extends KubeObject>(
    type: ResourceType,
    {
      namespace,
      name,
      subresource,
    }: { readonly namespace?: string; readonly name: string; readonly subresource: string },
    patch: unknown,
  ) {
    const path = pathOf(type, { namespace, name, subresource });
    return this.call<T>('PATCH', path, patch, 'application/strategic-merge-patch+json');
  }

  async delete(type: ResourceType, namespace: string | undefined, name: string, graceSeconds?: number): Promise<void> {
    const query = graceSeconds === undefined ? '' : `?gracePeriodSeconds=${graceSeconds}`;
    await this.call('DELETE', `${pathOf(type, { namespace, name })}${query}`);
  }

  /** Any path, such as /api/v1/namespaces/default/pods/web-1/log; the body as text. */
  async raw(path: string): Promise<string> {
    const response = await this.dialer.request(`${this.server}${path}`, { headers: this.headers, tls: this.tls });
    if (response.status >= 300) throw failure(response.status, response.body, 'GET', path);
    return response.body;
  }

  /** Changes from `resourceVersion` on, until the server or the caller (by leaving the loop) ends it. */
  async *watch<T extends KubeObject>(
    type: ResourceType,
    resourceVersion: string,
    namespace?: string,
  ): AsyncGenerator<WatchLine<T>> {
    const path = `${pathOf(type, { namespace })}?watch=true&resourceVersion=${resourceVersion}&allowWatchBookmarks=true`;
    const response: IncomingMessage = await this.dialer.open(`${this.server}${path}`, {
      headers: this.headers,
      tls: this.tls,
    });
    if (response.statusCode !== 200) throw new ApiFailure(response.statusCode ?? 0, 'WatchRefused', `watch ${path}`);
    try {
      for await (const line of createInterface({ input: response })) {
        if (line !== '') yield JSON.parse(line) as WatchLine<T>;
      }
    } finally {
      response.destroy();
    }
  }

  /** The list's version, to start a watch from. */
  async version(type: ResourceType, namespace?: string): Promise<string> {
    const list = await this.call<KubeList<KubeObject>>('GET', `${pathOf(type, { namespace })}?limit=1`);
    return list.metadata.resourceVersion ?? '0';
  }

  /** From now on requests share kept-alive connections, as client-go's do. Not for tests that kill the server. */
  keepAlive(): void {
    const { hostname, port } = new URL(this.server);
    this.agent = this.dialer.agent(hostname, Number(port), this.tls);
  }

  close(): void {
    this.agent?.destroy();
  }

  private async call<T>(method: string, path: string, body?: unknown, contentType = 'application/json'): Promise<T> {
    const response = await this.dialer.request(`${this.server}${path}`, {
      method,
      tls: this.tls,
      timeoutMs: 30_000,
      ...(this.agent !== undefined && { agent: this.agent }),
      headers: {
        ...this.headers,
        accept: 'application/json',
        ...(body !== undefined && { 'content-type': contentType }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    if (response.status >= 300) throw failure(response.status, response.body, method, path);
    return JSON.parse(response.body) as T;
  }
}

function failure(status: number, body: string, method: string, path: string): ApiFailure {
  try {
    const answer = JSON.parse(body) as ApiStatus;
    return new ApiFailure(status, answer.reason ?? '', `${method} ${path}: ${status} ${answer.message ?? body}`);
  } catch {
    return new ApiFailure(status, '', `${method} ${path}: ${status} ${body.slice(0, 300)}`);
  }
}

import { readFile } from 'node:fs/promises';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';

export interface Answer {
  readonly code: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every kind
  readonly body: any;
}

export interface CallOptions {
  readonly body?: unknown;
  readonly contentType?: string;
  readonly accept?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A plain HTTPS client with the credentials of a kubeconfig file. */
export class TestClient {
  private readonly agent: Agent;
  private readonly server: URL;
  private readonly token: string | undefined;

  private constructor(server: string, agent: Agent, token: string | undefined) {
    this.server = new URL(server);
    this.agent = agent;
    this.token = token;
  }

  static async fromKubeconfig(path: string): Promise<TestClient> {
    const config = JSON.parse(await readFile(path, 'utf8'));
    const user = config.users[0].user;
    const decode = (text: string | undefined): string | undefined =>
      text === undefined ? undefined : Buffer.from(text, 'base64').toString();
    const cert = decode(user['client-certificate-data']);
    const key = decode(user['client-key-data']);
    const ca = decode(config.clusters[0].cluster['certificate-authority-data']);
    const agent = new Agent({
      keepAlive: true,
      ...(ca ? { ca } : {}),
      ...(cert ? { cert } : {}),
      ...(key ? { key } : {}),
    });
    return new TestClient(config.clusters[0].cluster.server, agent, user.token);
  }

  /** The same server and authority, with a token (or nothing) instead. */
  with(token: string | undefined): TestClient {
    const { ca } = this.agent.options;
    return new TestClient(this.server.href, new Agent({ keepAlive: true, ...(ca ? { ca } : {}) }), token);
  }

  async call(method: string, path: string, options: CallOptions = {}): Promise<Answer> {
    const message = await this.open(method, path, options);
    let text = '';
    for await (const chunk of message) text += chunk;
    const json = message.headers['content-type']?.includes('json') ?? false;
    return {
      code: message.statusCode ?? 0,
      headers: message.headers,
      text,
      body: json && text !== '' ? JSON.parse(text) : undefined,
    };
  }

  get(path: string, options?: CallOptions): Promise<Answer> {
    return this.call('GET', path, options);
  }

  post(path: string, body: unknown, options?: CallOptions): Promise<Answer> {
    return this.call('POST', path, { ...options, body });
  }

  put(path: string, body: unknown, options?: CallOptions): Promise<Answer> {
    return this.call('PUT', path, { ...options, body });
  }

  patch(path: string, type: 'json' | 'merge' | 'strategic' | 'apply', body: unknown): Promise<Answer> {
    const subtype = {
      json: 'json-patch+json',
      merge: 'merge-patch+json',
      strategic: 'strategic-merge-patch+json',
      apply: 'apply-patch+yaml',
    };
    return this.call('PATCH', path, { body, contentType: `application/${subtype[type]}` });
  }

  delete(path: string, body?: unknown): Promise<Answer> {
    return this.call('DELETE', path, body === undefined ? {} : { body });
  }

  /** Opens a watch; `next` waits for events, `lines` has all so far. */
  async watch(path: string, options: CallOptions = {}): Promise<TestWatch> {
    const message = await this.open('GET', path, options);
    return new TestWatch(message);
  }

  close(): void {
    this.agent.destroy();
  }

  open(method: string, path: string, options: CallOptions): Promise<IncomingMessage> {
    const { body, contentType = 'application/json', accept, headers } = options;
    const text =
      body === undefined ? undefined : typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          host: this.server.hostname,
          port: this.server.port,
          method,
          path,
          agent: this.agent,
          headers: {
            ...(text === undefined ? {} : { 'content-type': contentType, 'content-length': Buffer.byteLength(text) }),
            ...(accept === undefined ? {} : { accept }),
            ...(this.token === undefined ? {} : { authorization: `Bearer ${this.token}` }),
            ...headers,
          },
        },
        resolve,
      );
      outgoing.on('error', reject);
      outgoing.end(text);
    });
  }
}

export class TestWatch {
  // biome-ignore lint/suspicious/noExplicitAny: tests look into events of every kind
  readonly events: any[] = [];
  rest = '';
  ended = false;
  readonly message: IncomingMessage;
  private readonly waiting: (() => void)[] = [];

  constructor(message: IncomingMessage) {
    this.message = message;
    message.on('data', (chunk) => {
      const lines = (this.rest + chunk).split('\n');
      this.rest = lines.pop() ?? '';
      for (const line of lines) this.events.push(JSON.parse(line));
      this.wake();
    });
    const end = (): void => {
      this.ended = true;
      this.wake();
    };
    message.on('end', end);
    message.on('error', end);
    message.on('close', end);
  }

  /** Waits until there are `count` events in all. */
  async until(count: number, timeoutMs = 5_000): Promise<this> {
    await this.waitFor(() => this.events.length >= count, `${count} events`, timeoutMs);
    return this;
  }

  async untilEnd(timeoutMs = 5_000): Promise<this> {
    await this.waitFor(() => this.ended, 'its end', timeoutMs);
    return this;
  }

  /** `ADDED a`, `MODIFIED b` … */
  get summary(): string[] {
    return this.events.map(({ type, object }) => `${type} ${object.metadata?.name ?? object.reason ?? ''}`.trim());
  }

  close(): void {
    this.message.destroy();
  }

  private async waitFor(done: () => boolean, what: string, timeoutMs: number): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while (!done()) {
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`the watch did not show ${what}: ${JSON.stringify(this.summary)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.waiting.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  private wake(): void {
    for (const wake of this.waiting.splice(0)) wake();
  }
}

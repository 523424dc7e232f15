import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { CodedError } from '../../kit/errors.ts';
import type { HTTPHeader } from '../../model/pod.ts';
import { addressOf, describeNetworkError, spokeNoTls } from './network-error.ts';
import { type HttpGetRequest, MAX_OUTPUT_BYTES } from './port.ts';

const MAX_REDIRECTS = 10;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

export type HttpOutcome =
  | { readonly kind: 'answered'; readonly status: number; readonly body: string }
  /** No answer came; `notTls` tells that the other side speaks, but not TLS. */
  | { readonly kind: 'unreachable'; readonly reason: string; readonly notTls: boolean }
  | { readonly kind: 'timedOut'; readonly reason: string }
  /** The head came, the body broke off: of that kubelet's prober says an error, not a failure. */
  | { readonly kind: 'broken'; readonly error: CodedError };

interface Hop {
  readonly scheme: 'http' | 'https';
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly hostHeader: string | undefined;
}

/** The two agents of a prober: no connection is used twice, no certificate is checked (a probe cannot know them). */
export interface HttpAgents {
  readonly http: HttpAgent;
  readonly https: HttpsAgent;
}

export function makeHttpAgents(): HttpAgents {
  return {
    http: new HttpAgent({ keepAlive: false }),
    https: new HttpsAgent({ keepAlive: false, rejectUnauthorized: false, maxCachedSessions: 0 }),
  };
}

/**
 * One GET with its redirects, which are followed at most ten times and only to the same host (Go's net/http client with
 * kubelet's RedirectChecker): an answer that leads elsewhere is itself the outcome. Callers end it early by `expire`
 * (the time is up) or `abort`.
 */
export class HttpExchange {
  readonly outcome: Promise<HttpOutcome>;
  private readonly request: HttpGetRequest;
  private readonly agents: HttpAgents;
  private readonly defaultUserAgent: string;
  private settle: (outcome: HttpOutcome) => void = () => {};
  private settled = false;
  private current: ClientRequest | undefined;
  private hop: Hop;
  private redirects = 0;
  private headSeen = false;

  constructor(request: HttpGetRequest, agents: HttpAgents, defaultUserAgent: string) {
    this.request = request;
    this.agents = agents;
    this.defaultUserAgent = defaultUserAgent;
    this.hop = {
      scheme: request.scheme,
      host: request.host,
      port: request.port,
      path: requestPath(request.path),
      hostHeader: headerOf(request.headers, 'host'),
    };
    this.outcome = new Promise((resolve) => {
      this.settle = resolve;
    });
    this.send();
  }

  /** The time is up. */
  expire(): void {
    if (this.headSeen) {
      this.finish({
        kind: 'broken',
        error: new CodedError(
          'DeadlineExceeded',
          `Get "${this.url()}": the body was not complete after ${this.request.timeoutMs} ms (Client.Timeout while reading body)`,
        ),
      });
    } else {
      this.finish({
        kind: 'timedOut',
        reason: `Get "${this.url()}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`,
      });
    }
  }

  abort(): void {
    this.finish({ kind: 'broken', error: new CodedError('Aborted', `Get "${this.url()}": broken off`) });
  }

  private finish(outcome: HttpOutcome): void {
    if (this.settled) return;
    this.settled = true;
    this.current?.destroy();
    this.current = undefined;
    this.settle(outcome);
  }

  private url(): string {
    const { scheme, host, port, path } = this.hop;
    return `${scheme}://${addressOf(host, port)}${path}`;
  }

  private send(): void {
    const { scheme, host, port, path } = this.hop;
    const secure = scheme === 'https';
    const options = {
      host,
      port,
      path,
      agent: secure ? this.agents.https : this.agents.http,
      headers: this.headers(),
      // Node would send a bracketed or empty server name for an address, which some TLS stacks refuse.
      ...(secure ? { servername: /[^\d.:a-f]/i.test(host) ? host : '' } : {}),
    };
    let request: ClientRequest;
    try {
      request = secure ? httpsRequest(options) : httpRequest(options);
    } catch (error) {
      // A header or a path that HTTP cannot carry: found before anything was sent.
      this.finish({ kind: 'unreachable', reason: `Get "${this.url()}": ${(error as Error).message}`, notTls: false });
      return;
    }
    this.current = request;
    this.headSeen = false;
    request.on('error', (error) => {
      if (this.current !== request) return;
      const reason = `Get "${this.url()}": ${describeNetworkError(error, addressOf(host, port))}`;
      if (this.headSeen) this.finish({ kind: 'broken', error: new CodedError('Unavailable', reason) });
      else if (secure && spokeNoTls(error)) {
        const text = `Get "${this.url()}": http: server gave HTTP response to HTTPS client`;
        this.finish({ kind: 'unreachable', reason: text, notTls: true });
      } else this.finish({ kind: 'unreachable', reason, notTls: false });
    });
    request.on('response', (response) => this.read(request, response));
    request.on('upgrade', (response) => {
      this.finish({ kind: 'answered', status: response.statusCode ?? 101, body: '' });
    });
    request.end();
  }

  private headers(): string[] {
    const { headers } = this.request;
    const lines: string[] = ['Host', this.hop.hostHeader ?? addressOf(this.hop.host, this.hop.port)];
    if (headerOf(headers, 'user-agent') === undefined) lines.push('User-Agent', this.defaultUserAgent);
    const accept = headerOf(headers, 'accept');
    if (accept === undefined) lines.push('Accept', '*/*');
    for (const { name, value } of headers) {
      const lower = name.toLowerCase();
      if (lower === 'host' || lower === 'connection' || (lower === 'accept' && accept === '')) continue;
      lines.push(name, value);
    }
    lines.push('Connection', 'close');
    return lines;
  }

  private read(request: ClientRequest, response: IncomingMessage): void {
    if (this.current !== request) {
      response.destroy();
      return;
    }
    const status = response.statusCode ?? 0;
    const location = response.headers.location;
    if (REDIRECTS.has(status) && location !== undefined && location !== '' && this.follow(request, response, location))
      return;
    this.headSeen = true;
    // Only the text of an answer that leads elsewhere is ever shown, so only that is kept.
    const keep = status >= 300 && status < 400;
    const chunks: Buffer[] = [];
    let length = 0;
    const done = (): void => {
      const body = Buffer.concat(chunks).subarray(0, MAX_OUTPUT_BYTES).toString('utf8');
      this.finish({ kind: 'answered', status, body });
    };
    response.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (keep) chunks.push(chunk);
      if (length >= MAX_OUTPUT_BYTES) done();
    });
    response.on('end', done);
    response.on('error', (error) => {
      const { host, port } = this.hop;
      const reason = `Get "${this.url()}": reading the body: ${describeNetworkError(error, addressOf(host, port))}`;
      this.finish({ kind: 'broken', error: new CodedError('Unavailable', reason) });
    });
  }

  /** Goes to the next hop, unless it leads to another host: then the answer stands as it is (false). */
  private follow(request: ClientRequest, response: IncomingMessage, location: string): boolean {
    let next: URL;
    try {
      next = new URL(location, this.url());
    } catch {
      const reason = `Get "${this.url()}": failed to parse Location header "${location}"`;
      this.finish({ kind: 'unreachable', reason, notTls: false });
      return true;
    }
    const host = next.hostname.replace(/^\[|\]$/g, '');
    if (host !== this.request.host.toLowerCase()) return false;
    if (this.redirects >= MAX_REDIRECTS) {
      const reason = `Get "${this.url()}": stopped after ${MAX_REDIRECTS} redirects`;
      this.finish({ kind: 'unreachable', reason, notTls: false });
      return true;
    }
    if (next.protocol !== 'http:' && next.protocol !== 'https:') {
      const reason = `Get "${next.href}": unsupported protocol scheme "${next.protocol.slice(0, -1)}"`;
      this.finish({ kind: 'unreachable', reason, notTls: false });
      return true;
    }
    this.redirects++;
    const scheme = next.protocol === 'https:' ? 'https' : 'http';
    const relative = !/^[a-z][a-z0-9+.-]*:|^\/\//i.test(location);
    this.hop = {
      scheme,
      host: this.request.host,
      port: next.port === '' ? (scheme === 'https' ? 443 : 80) : Number(next.port),
      path: `${next.pathname}${next.search}`,
      // Go keeps an overridden Host only as long as the redirect names no host itself.
      hostHeader: relative ? this.hop.hostHeader : undefined,
    };
    this.current = undefined;
    response.on('error', () => {});
    response.destroy();
    request.destroy();
    this.send();
    return true;
  }
}

/** A leading slash, no fragment, and nothing that may not stand in a request line. */
function requestPath(path: string): string {
  const hash = path.indexOf('#');
  let text = hash < 0 ? path : path.slice(0, hash);
  // Of an absolute URL only path and query count: host, port and scheme have fields of their own.
  text = text.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?]*/i, '');
  if (!text.startsWith('/')) text = `/${text}`;
  return text.replace(/[^\x21-\x7e]+/g, (match) =>
    // By bytes, because encodeURIComponent throws at half a surrogate pair.
    [...Buffer.from(match, 'utf8')].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
}

function headerOf(headers: readonly HTTPHeader[], lowerName: string): string | undefined {
  return headers.find((header) => header.name.toLowerCase() === lowerName)?.value;
}

import type { IncomingMessage, ServerResponse } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect } from 'node:tls';
import { messageOf } from '../../kit/errors.ts';
import type { Node, NodeAddress } from '../../model/node.ts';
import type { KeyPair } from '../certificates/key-pair.ts';
import { StatusError, statusOf } from './status-error.ts';

/** The way to a node's HTTPS API, for logs, exec, attach and port-forward. */
export interface NodeProxy {
  /** Sends the request on to `path` (with its query) on the node, and the answer back. */
  forward(node: Node, path: string, request: IncomingMessage, response: ServerResponse): Promise<void>;
  /** The same for a connection that is to be upgraded (SPDY or WebSocket). */
  upgrade(node: Node, path: string, request: IncomingMessage, socket: Duplex, head: Buffer): void;
}

export interface HttpsNodeProxyOptions {
  /** Shown to the node: it must be of system:masters or be allowed the proxy verbs. */
  readonly client: KeyPair;
  /** PEM; without it the node's certificate is not checked, as kube-apiserver does by default. */
  readonly nodeAuthority?: string | undefined;
  readonly connectTimeoutMs: number;
  /** Where a node's API is when its object does not say it right (it listens on loopback). */
  readonly placeOf?: (node: Node) => { readonly host: string; readonly port: number } | undefined;
}

const DEFAULT_PORT = 10250;
const ADDRESS_TYPES: readonly NodeAddress['type'][] = [
  'InternalIP',
  'Hostname',
  'InternalDNS',
  'ExternalDNS',
  'ExternalIP',
];
// They concern one connection, not the message (RFC 9110, 7.6.1); the caller's credentials stay here.
const NOT_FORWARDED: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'te',
  'upgrade',
  'authorization',
  'host',
]);

export class HttpsNodeProxy implements NodeProxy {
  private readonly options: HttpsNodeProxyOptions;

  constructor(options: HttpsNodeProxyOptions) {
    this.options = options;
  }

  forward(node: Node, path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { host, port } = this.placeOf(node);
    return new Promise((resolve, reject) => {
      const headers: Record<string, string | string[]> = {};
      for (const [name, value] of Object.entries(request.headers)) {
        if (value !== undefined && !NOT_FORWARDED.has(name)) headers[name] = value;
      }
      const onward = httpsRequest({
        host,
        port,
        path,
        method: request.method ?? 'GET',
        headers,
        agent: false,
        ...this.tlsOptions(),
      });
      onward.setTimeout(this.options.connectTimeoutMs, () => onward.destroy(new Error('the node does not answer')));
      onward.on('response', (answer) => {
        onward.setTimeout(0);
        response.writeHead(answer.statusCode ?? 502, withoutHopHeaders(answer.headers));
        // Followed logs trickle: each piece is sent on as it comes.
        response.flushHeaders();
        answer.pipe(response);
        answer.on('error', () => response.destroy());
        response.on('close', () => {
          onward.destroy();
          resolve();
        });
      });
      onward.on('error', (error) => {
        if (response.headersSent) response.destroy();
        else reject(unreachable(node, error));
      });
      response.on('close', () => onward.destroy());
      request.pipe(onward);
    });
  }

  upgrade(node: Node, path: string, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const fail = (error: unknown): void => {
      if (!socket.writable) return;
      const body = JSON.stringify(statusOf(error));
      const reason = 'HTTP/1.1 502 Bad Gateway\r\ncontent-type: application/json\r\nconnection: close\r\n';
      socket.end(`${reason}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
    };
    let address: { host: string; port: number };
    try {
      address = this.placeOf(node);
    } catch (error) {
      fail(error);
      return;
    }
    const onward = connect({ ...address, ALPNProtocols: ['http/1.1'], ...this.tlsOptions() });
    onward.setTimeout(this.options.connectTimeoutMs, () => onward.destroy(new Error('the node does not answer')));
    onward.once('secureConnect', () => {
      onward.setTimeout(0);
      let text = `${request.method} ${path} HTTP/1.1\r\nhost: ${address.host}:${address.port}\r\n`;
      for (let i = 0; i + 1 < request.rawHeaders.length; i += 2) {
        const name = request.rawHeaders[i]?.toLowerCase() ?? '';
        if (name !== 'authorization' && name !== 'host')
          text += `${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}\r\n`;
      }
      onward.write(`${text}\r\n`);
      if (head.length > 0) onward.write(head);
      // The node's answer to the upgrade goes to the caller as it is.
      onward.pipe(socket).pipe(onward);
      onward.off('error', fail);
      onward.on('error', () => socket.destroy());
    });
    onward.on('error', fail);
    socket.on('error', () => onward.destroy());
    socket.on('close', () => onward.destroy());
    onward.on('close', () => socket.destroy());
  }

  private placeOf(node: Node): { host: string; port: number } {
    return this.options.placeOf?.(node) ?? addressOf(node);
  }

  private tlsOptions(): { cert: string; key: string; ca?: string; rejectUnauthorized: boolean } {
    const { client, nodeAuthority } = this.options;
    return {
      cert: client.certificate,
      key: client.key,
      ...(nodeAuthority === undefined ? {} : { ca: nodeAuthority }),
      rejectUnauthorized: nodeAuthority !== undefined,
    };
  }
}

function addressOf(node: Node): { host: string; port: number } {
  const { addresses = [], daemonEndpoints } = node.status ?? {};
  for (const type of ADDRESS_TYPES) {
    const host = addresses.find((one) => one.type === type)?.address;
    if (host !== undefined && (isIP(host) !== 0 || host !== '')) {
      return { host, port: daemonEndpoints?.kubeletEndpoint?.Port || DEFAULT_PORT };
    }
  }
  throw new StatusError(
    'Unavailable',
    503,
    'ServiceUnavailable',
    `node "${node.metadata.name}" has no address to reach it by`,
  );
}

function withoutHopHeaders(headers: IncomingMessage['headers']): Record<string, string | string[]> {
  const kept: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && !NOT_FORWARDED.has(name)) kept[name] = value;
  }
  return kept;
}

function unreachable(node: Node, error: Error): StatusError {
  const message = `error dialing the API of node "${node.metadata.name}": ${messageOf(error)}`;
  return new StatusError('Unavailable', 503, 'ServiceUnavailable', message);
}

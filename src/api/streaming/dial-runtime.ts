import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect as netConnect } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as tlsConnect } from 'node:tls';
import { CodedError, messageOf } from '../../kit/errors.ts';

/** The runtime has agreed to go on in another protocol. */
export interface Upgraded {
  readonly answer: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

const DIAL_MS = 30_000;

/**
 * Asks the runtime's streaming server at `url` for an upgrade. Resolves with the connection, or with the runtime's answer
 * when it does not agree; throws Unavailable.
 */
export function dialRuntime(
  url: string,
  method: string,
  headers: readonly string[],
): Promise<Upgraded | { readonly refused: IncomingMessage }> {
  const { protocol, hostname, port, pathname, search, host } = new URL(url);
  const secure = protocol === 'https:';
  const place = {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port || (secure ? 443 : 80)),
    // A stream may end in one direction and go on in the other.
    allowHalfOpen: true,
    noDelay: true,
  };
  return new Promise((resolve, reject) => {
    const sent = httpRequest({
      method,
      path: `${pathname}${search}`,
      headers: ['Host', host, ...headers],
      createConnection: () => (secure ? tlsConnect({ ...place, ALPNProtocols: ['http/1.1'] }) : netConnect(place)),
    });
    sent.setTimeout(DIAL_MS, () => sent.destroy(new Error(`no answer within ${DIAL_MS / 1000} s`)));
    sent.on('upgrade', (answer, socket: Duplex, head) => {
      sent.setTimeout(0);
      resolve({ answer, socket, head });
    });
    sent.on('response', (refused) => {
      sent.setTimeout(0);
      resolve({ refused });
    });
    sent.on('error', (error) => {
      const message = `dialing the runtime's streaming server: ${messageOf(error)}`;
      reject(new CodedError('Unavailable', message, { host }, error));
    });
    sent.end();
  });
}

/** They concern this server alone: the caller's credentials, and the place that it called. */
const KEPT_BACK: ReadonlySet<string> = new Set(['host', 'authorization', 'cookie']);

/** The caller's headers as they came, without what is not the runtime's business. */
export function onwardHeaders(rawHeaders: readonly string[]): readonly string[] {
  const headers: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const [name = '', value = ''] = [rawHeaders[at], rawHeaders[at + 1]];
    if (!KEPT_BACK.has(name.toLowerCase()) && !name.toLowerCase().startsWith('impersonate-')) headers.push(name, value);
  }
  return headers;
}

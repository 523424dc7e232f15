import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { drained } from '../kit/drained.ts';
import type { Caller } from './port.ts';

const PIECE = 65_536;

/** A request whose caller is known, and may. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly caller: Caller;
  /** Decoded and clean. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** The values of the braces in the route's path. */
  readonly parameters: Readonly<Record<string, string>>;
  /** There when the caller asks to go on in another protocol; until that is done, `response` answers as always. */
  readonly upgrade?: Upgrade | undefined;
}

export interface Upgrade {
  readonly socket: Duplex;
  /** What came after the head of the request already. */
  readonly head: Buffer;
  /** The connection is the caller's of this from now on; `response` is no longer of use. */
  take(): Duplex;
}

export type Handler = (exchange: Exchange) => void | Promise<void>;

interface Route {
  readonly parts: readonly string[];
  readonly below: boolean;
  readonly handlers: ReadonlyMap<string, Handler>;
}

/** Finds what answers a path. What is said literally goes before what fits by chance; HEAD is answered as GET. */
export class Router {
  private readonly routes: Route[] = [];

  /** A part of `path` may be {NAME}; "/*" at its end means everything below it, too. A slash at the end is no matter. */
  add(path: string, handlers: Readonly<Record<string, Handler>>): this {
    const below = path.endsWith('/*');
    const methods = new Map(Object.entries(handlers));
    const get = methods.get('GET');
    if (get !== undefined && !methods.has('HEAD')) methods.set('HEAD', get);
    this.routes.push({ parts: partsOf(below ? path.slice(0, -2) : path), below, handlers: methods });
    this.routes.sort((a, b) => Number(a.below) - Number(b.below) || b.parts.length - a.parts.length);
    return this;
  }

  /** Every path that is answered, as it was added. */
  paths(): readonly string[] {
    return this.routes.map(({ parts, below }) => `/${parts.join('/')}${below ? '/' : ''}`).sort();
  }

  /** Answers 404 or 405 where nothing is there for it. */
  async handle(exchange: Omit<Exchange, 'parameters'>): Promise<void> {
    const { path, request, response } = exchange;
    const parts = partsOf(path);
    const allowed: string[] = [];
    for (const route of this.routes) {
      const parameters = match(route, parts);
      if (parameters === undefined) continue;
      const handler = route.handlers.get(request.method ?? '');
      if (handler !== undefined) return await handler({ ...exchange, parameters });
      allowed.push(...route.handlers.keys());
    }
    if (allowed.length === 0) sendText(response, 404, '404: Page Not Found');
    else {
      response.setHeader('allow', [...new Set(allowed)].join(', '));
      sendText(response, 405, '405: Method Not Allowed');
    }
  }
}

function partsOf(path: string): readonly string[] {
  return path.split('/').filter((part) => part !== '');
}

function match(route: Route, parts: readonly string[]): Record<string, string> | undefined {
  if (route.below ? parts.length < route.parts.length : parts.length !== route.parts.length) return undefined;
  const parameters: Record<string, string> = {};
  for (const [index, wanted] of route.parts.entries()) {
    const part = parts[index] ?? '';
    if (wanted.startsWith('{')) parameters[wanted.slice(1, -1)] = part;
    else if (wanted !== part) return undefined;
  }
  return parameters;
}

export function sendText(
  response: ServerResponse,
  status: number,
  body: string | Buffer,
  type = 'text/plain; charset=utf-8',
): void {
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
  });
  response.end(body);
}

/** JSON that is made while it is sent, so that a long answer is never whole in memory. */
export async function sendPieces(response: ServerResponse, pieces: Iterable<string>): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  let text = '';
  for (const piece of pieces) {
    text += piece;
    if (text.length < PIECE) continue;
    if (!response.write(text)) await drained(response);
    text = '';
  }
  response.end(text);
}

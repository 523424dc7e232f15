import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Caller } from './client-certificates.ts';

/** A request whose caller is known. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly caller: Caller;
  readonly path: string;
  readonly query: URLSearchParams;
}

export type Handler = (exchange: Exchange) => void | Promise<void>;

interface Route {
  readonly path: string;
  readonly below: boolean;
  readonly handlers: ReadonlyMap<string, Handler>;
}

/** Finds what answers a path. The longest path wins; HEAD is answered as GET. */
export class Router {
  private readonly routes: Route[] = [];

  /** `path` ends in "/*" where everything below it is meant, too. */
  add(path: string, handlers: Readonly<Record<string, Handler>>): this {
    const below = path.endsWith('/*');
    const methods = new Map(Object.entries(handlers));
    const get = methods.get('GET');
    if (get !== undefined && !methods.has('HEAD')) methods.set('HEAD', get);
    this.routes.push({ path: below ? path.slice(0, -2) : path, below, handlers: methods });
    this.routes.sort((a, b) => b.path.length - a.path.length);
    return this;
  }

  /** Answers 404 or 405 where nothing is there for it. */
  async handle(exchange: Exchange): Promise<void> {
    const { path, request, response } = exchange;
    const route = this.routes.find((one) => one.path === path || (one.below && path.startsWith(`${one.path}/`)));
    const handler = route?.handlers.get(request.method ?? '');
    if (handler !== undefined) await handler(exchange);
    else if (route === undefined) sendText(response, 404, '404 page not found\n');
    else {
      response.setHeader('allow', [...route.handlers.keys()].join(', '));
      sendText(response, 405, '405: Method Not Allowed\n');
    }
  }
}

export function sendText(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
  });
  response.end(body);
}

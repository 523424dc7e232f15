import type { ServerResponse } from 'node:http';
import { drained } from '../../kit/drained.ts';
import type { ApiStatus, ListMeta } from '../../model/meta.ts';

/** Sends a body of JSON text. */
export function sendJson(response: ServerResponse, code: number, body: string, type = 'application/json'): void {
  if (response.headersSent || response.destroyed) return;
  const data = Buffer.from(body);
  response.writeHead(code, {
    'content-type': type,
    'content-length': data.length,
    'cache-control': 'no-cache, private',
  });
  response.end(data);
}

export function sendStatus(response: ServerResponse, status: ApiStatus): void {
  const seconds = status.details?.retryAfterSeconds;
  if (seconds !== undefined && !response.headersSent) response.setHeader('retry-after', String(seconds));
  sendJson(response, status.code ?? 500, JSON.stringify(status));
}

/** Warnings for kubectl to print (RFC 7234 section 5.5; KEP-1693). */
export function addWarnings(response: ServerResponse, warnings: readonly string[]): void {
  if (warnings.length === 0) return;
  const text = warnings.slice(0, 20).map((warning) => {
    const quoted = warning.replace(/[\\"]/g, '\\$&').replace(/[^\t\x20-\x7e]/g, ' ');
    return `299 - "${quoted}"`;
  });
  response.setHeader('warning', text);
}

export interface ListHead {
  readonly kind: string;
  readonly apiVersion: string;
  readonly metadata: ListMeta;
  readonly columnDefinitions?: unknown;
}

const CHUNK = 64;

/** Sends a list piece by piece, so that neither memory nor the event loop carries all of it at once. */
export async function sendList<T>(
  response: ServerResponse,
  head: ListHead,
  field: 'items' | 'rows',
  items: readonly T[],
  encode: (item: T) => string,
): Promise<void> {
  const opening = `${JSON.stringify(head).slice(0, -1)},"${field}":[`;
  if (items.length <= CHUNK) {
    sendJson(response, 200, `${opening}${items.map(encode).join(',')}]}\n`);
    return;
  }
  response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-cache, private' });
  let text = opening;
  for (let at = 0; at < items.length; at += CHUNK) {
    if (at > 0) text += ',';
    text += items
      .slice(at, at + CHUNK)
      .map(encode)
      .join(',');
    if (!response.write(text)) await drained(response);
    else await new Promise((resolve) => setImmediate(resolve));
    if (response.destroyed) return;
    text = '';
  }
  response.end(']}\n');
}

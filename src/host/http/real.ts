import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { CodedError, messageOf } from '../../kit/errors.ts';
import type { HttpGet } from './port.ts';

type Options = Parameters<HttpGet['get']>[1];

/** Go's http.Client gives up after ten. */
const MOST_REDIRECTS = 10;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

export class RealHttpGet implements HttpGet {
  async get(url: string, options: Options): Promise<{ status: number; statusText: string; body: Buffer }> {
    const deadline = AbortSignal.timeout(options.timeoutMs);
    const signal = options.signal === undefined ? deadline : AbortSignal.any([deadline, options.signal]);
    try {
      let target = urlOf(url);
      for (let redirects = 0; ; redirects++) {
        const answer = await send(target, headersFor(options, target.host === urlOf(url).host), signal);
        const status = answer.statusCode ?? 0;
        const { location } = answer.headers;
        if (REDIRECTS.has(status) && location !== undefined && redirects < MOST_REDIRECTS) {
          answer.destroy();
          target = new URL(location, target);
          continue;
        }
        return { status, statusText: answer.statusMessage ?? '', body: await bodyOf(answer, options.maxBytes, url) };
      }
    } catch (error) {
      if (error instanceof CodedError) throw error;
      if (deadline.aborted) {
        const message = `GET ${url}: no complete answer within ${options.timeoutMs} ms`;
        throw new CodedError('DeadlineExceeded', message, { url }, error);
      }
      throw new CodedError('Unavailable', `GET ${url}: ${messageOf(error)}`, { url }, error);
    }
  }
}

function urlOf(text: string): URL {
  let url: URL | undefined;
  try {
    url = new URL(text);
  } catch {
    url = undefined;
  }
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url;
  throw new CodedError('InvalidArgument', `${JSON.stringify(text)} is not an http or https URL`);
}

/** Headers may carry credentials: another host does not get them. */
function headersFor({ headers }: Options, sameHost: boolean): Record<string, string[]> {
  if (!sameHost) return {};
  return Object.fromEntries(Object.entries(headers).map(([name, values]) => [name, [...values]]));
}

function send(url: URL, headers: Record<string, string[]>, signal: AbortSignal): Promise<IncomingMessage> {
  const request = url.protocol === 'https:' ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: 'GET', headers, signal, agent: false }, resolve);
    sent.on('error', reject);
    sent.end();
  });
}

async function bodyOf(answer: IncomingMessage, maxBytes: number, url: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maxBytes) {
      answer.destroy();
      throw new CodedError('ResourceExhausted', `GET ${url}: the answer is larger than ${maxBytes} bytes`, { url });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

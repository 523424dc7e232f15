import type { ServerResponse } from 'node:http';
import type { KubeObject, ListMeta } from '../../model/meta.ts';
import { apiVersionOf, type ResourceType } from '../../model/resource.ts';
import type { Page } from '../store/list-page.ts';
import type { WalStore } from '../store/wal-store.ts';
import { formatOf } from '../tables/object-formats.ts';
import { columnDefinitions } from '../tables/table.ts';
import { type Encoding, encodeItem } from './encode-object.ts';
import { sendList } from './respond.ts';
import { badRequest, expired, StatusError } from './status-error.ts';

export interface ListRequest {
  readonly type: ResourceType;
  readonly namespace: string | undefined;
  readonly matches: ((object: KubeObject) => boolean) | undefined;
  readonly encoding: Encoding;
  readonly query: URLSearchParams;
}

interface Continuation {
  readonly v: number;
  readonly after: string;
}

/**
 * Answers a list: whole, or a page of `limit` objects with a token for the next. All pages show the objects as they
 * were at the first (by taking later changes back); when the history has lost those changes the answer is 410.
 */
export async function answerList(
  store: WalStore,
  request: ListRequest,
  response: ServerResponse,
  now: number,
): Promise<void> {
  const { type, encoding } = request;
  const { page, version } = await store.durably(() => readPage(store, request));
  const metadata: ListMeta = { resourceVersion: String(version) };
  if (page.next !== undefined) {
    metadata.continue = encodeToken({ v: version, after: page.next });
    if (page.remaining !== undefined) metadata.remainingItemCount = page.remaining;
  }
  const encode = (object: KubeObject): string => encodeItem(type, object, encoding, now);
  switch (encoding.as) {
    case 'table': {
      const head = {
        kind: 'Table',
        apiVersion: 'meta.k8s.io/v1',
        metadata,
        columnDefinitions: columnDefinitions(formatOf(type)),
      };
      return await sendList(response, head, 'rows', page.objects, encode);
    }
    case 'metadata': {
      const head = { kind: 'PartialObjectMetadataList', apiVersion: 'meta.k8s.io/v1', metadata };
      return await sendList(response, head, 'items', page.objects, encode);
    }
    case 'object': {
      const head = { kind: `${type.kind}List`, apiVersion: apiVersionOf(type), metadata };
      return await sendList(response, head, 'items', page.objects, encode);
    }
  }
}

function readPage(store: WalStore, { type, namespace, matches, query }: ListRequest): { page: Page; version: number } {
  const limit = parseCount(query, 'limit');
  const token = query.get('continue') ?? '';
  const wanted = query.get('resourceVersion') ?? '';
  const match = query.get('resourceVersionMatch') ?? '';
  const current = store.resourceVersion;
  let version = current;
  let after: string | undefined;
  if (token !== '') {
    if (wanted !== '' && wanted !== '0')
      throw badRequest('specifying resource version is not allowed when using continue');
    const continuation = decodeToken(token);
    version = continuation.v;
    after = continuation.after;
  } else if (wanted !== '' && wanted !== '0') {
    const asked = parseVersion(wanted);
    if (asked > current) throw tooLarge(asked, current);
    if (match === 'Exact') version = asked;
  }
  const page = store.page(type, { namespace, matches, version, after, ...(limit > 0 ? { limit } : {}) });
  if (page === undefined) {
    throw expired(
      token === ''
        ? `The resourceVersion for the provided list is too old: ${version} (${current})`
        : 'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter',
    );
  }
  return { page, version };
}

export function parseVersion(text: string): number {
  const version = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(version)) {
    throw badRequest(`invalid resource version ${JSON.stringify(text)}: it must be a number`);
  }
  return version;
}

/** A client that knows more than this server has seen another one; it is to try again (and then to relist). */
function tooLarge(asked: number, current: number): StatusError {
  return new StatusError(
    'DeadlineExceeded',
    504,
    'Timeout',
    `Timeout: Too large resource version: ${asked}, current: ${current}`,
    { causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }], retryAfterSeconds: 1 },
  );
}

function parseCount(query: URLSearchParams, name: string): number {
  const text = query.get(name) ?? '';
  if (text === '') return 0;
  if (!/^\d{1,15}$/.test(text)) throw badRequest(`${name} must be a number of objects, not ${JSON.stringify(text)}`);
  return Number(text);
}

function encodeToken(continuation: Continuation): string {
  return Buffer.from(JSON.stringify(continuation)).toString('base64url');
}

function decodeToken(token: string): Continuation {
  try {
    const value = JSON.parse(Buffer.from(token, 'base64url').toString('utf8')) as Partial<Continuation>;
    if (Number.isSafeInteger(value.v) && typeof value.after === 'string') return value as Continuation;
  } catch {
    // Not one of ours: said below.
  }
  throw badRequest(`continue key is not valid: ${JSON.stringify(token)}`);
}

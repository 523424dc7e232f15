import { CodedError, type ErrorCode, type Metadata } from '../kit/errors.ts';
import type { ApiStatus } from '../model/meta.ts';

/** What was asked, for messages and metadata. */
export interface RequestFacts {
  readonly verb: string;
  readonly path: string;
  /** Who asked, where the server cannot say it. */
  readonly as?: string;
}

/** The code of an HTTP status and of the Status reason in its body (apimachinery pkg/api/errors). */
export function codeOfStatus(status: number, reason: string | undefined): ErrorCode {
  if (status === 409) return reason === 'AlreadyExists' ? 'AlreadyExists' : 'Conflict';
  if (status === 401) return 'Unauthorized';
  if (status === 403) return 'Forbidden';
  if (status === 404) return 'NotFound';
  if (status === 405 || status === 406 || status === 415) return 'Unimplemented';
  if (status === 408) return 'DeadlineExceeded';
  if (status === 410) return 'Gone';
  if (status === 429) return 'TooManyRequests';
  if (status === 400 || status === 413 || status === 422) return 'InvalidObject';
  if (status >= 500) return 'Unavailable';
  return 'Internal';
}

/**
 * The error of an answer that is not a success; `field` in its metadata is the first field that the API complains of.
 * `body` may be anything: a proxy in between answers HTML.
 */
export function errorOfAnswer(
  facts: RequestFacts,
  status: number,
  body: string,
  retryAfterMs: number | undefined,
): CodedError {
  const parsed = parseStatus(body);
  const said = parsed?.message ?? body.slice(0, 200).trim();
  const who = facts.as === undefined ? '' : ` (asked as ${facts.as})`;
  const message = `${facts.verb} ${facts.path}: API answered ${status}${said === '' ? '' : `: ${said}`}${who}`;
  return new CodedError(codeOfStatus(status, parsed?.reason), message, {
    ...metadataOf(facts, status, parsed?.reason, retryAfterMs ?? secondsToMs(parsed?.details?.retryAfterSeconds)),
    field: parsed?.details?.causes?.[0]?.field,
    /** The API's own words, for messages that users know from kubelet. */
    said: parsed?.message,
  });
}

/** The error of a Status object that came as an ERROR event inside a watch. */
export function errorOfStatus(facts: RequestFacts, status: ApiStatus): CodedError {
  const code = status.code ?? 500;
  return new CodedError(
    codeOfStatus(code, status.reason),
    `${facts.verb} ${facts.path}: API ended the stream with ${code}: ${status.message ?? status.reason ?? 'no message'}`,
    metadataOf(facts, code, status.reason, secondsToMs(status.details?.retryAfterSeconds)),
  );
}

/** Seconds or an HTTP date (RFC 9110 10.2.3), as milliseconds from `now`; undefined when absent or unreadable. */
export function retryAfterOf(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d+$/.test(header.trim())) return Number(header) * 1000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}

function parseStatus(body: string): ApiStatus | undefined {
  try {
    const parsed: unknown = JSON.parse(body);
    if (typeof parsed === 'object' && parsed !== null && 'kind' in parsed && parsed.kind === 'Status') {
      return parsed as ApiStatus;
    }
  } catch {
    // Not JSON: the text itself is the message.
  }
  return undefined;
}

function secondsToMs(seconds: number | undefined): number | undefined {
  return seconds === undefined || seconds <= 0 ? undefined : seconds * 1000;
}

function metadataOf(
  facts: RequestFacts,
  status: number,
  reason: string | undefined,
  retryAfterMs: number | undefined,
): Metadata {
  return { status, reason, verb: facts.verb, path: facts.path, retryAfterMs };
}

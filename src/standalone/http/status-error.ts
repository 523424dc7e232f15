import { CodedError, type ErrorCode, messageOf } from '../../kit/errors.ts';
import type { ApiStatus } from '../../model/meta.ts';
import type { ResourceType } from '../../model/resource.ts';
import { InvalidObjectError } from '../allocation/invalid-object.ts';
import type { FieldError } from '../port.ts';

type Details = NonNullable<ApiStatus['details']>;
type Named = Pick<ResourceType, 'group' | 'plural' | 'kind'>;

/** An error that already is the metav1.Status to answer with (apimachinery pkg/api/errors). */
export class StatusError extends CodedError {
  readonly httpCode: number;
  readonly reason: string;
  readonly details: Details | undefined;

  constructor(code: ErrorCode, httpCode: number, reason: string, message: string, details?: Details) {
    super(code, message, { status: httpCode, reason });
    this.httpCode = httpCode;
    this.reason = reason;
    this.details = details;
  }
}

const HTTP_CODES: Readonly<Record<ErrorCode, readonly [number, string]>> = {
  InvalidArgument: [400, 'BadRequest'],
  InvalidConfig: [500, 'InternalError'],
  InvalidObject: [422, 'Invalid'],
  NotFound: [404, 'NotFound'],
  AlreadyExists: [409, 'AlreadyExists'],
  Conflict: [409, 'Conflict'],
  Forbidden: [403, 'Forbidden'],
  Unauthorized: [401, 'Unauthorized'],
  Gone: [410, 'Expired'],
  TooManyRequests: [429, 'TooManyRequests'],
  Unavailable: [503, 'ServiceUnavailable'],
  DeadlineExceeded: [504, 'Timeout'],
  Unimplemented: [501, 'NotImplemented'],
  ResourceExhausted: [500, 'InternalError'],
  Aborted: [503, 'ServiceUnavailable'],
  CommandFailed: [500, 'InternalError'],
  Internal: [500, 'InternalError'],
};

/** The Status of anything thrown; `about` is the object of the request, for details. */
export function statusOf(
  error: unknown,
  about?: { readonly type: Named; readonly name?: string | undefined },
): ApiStatus {
  if (error instanceof StatusError) return failure(error.httpCode, error.reason, error.message, error.details);
  if (error instanceof InvalidObjectError && about !== undefined) {
    return statusOf(invalid(about.type, String(error.metadata['name'] ?? about.name ?? ''), error.fieldErrors));
  }
  const [code, reason] = error instanceof CodedError ? HTTP_CODES[error.code] : HTTP_CODES.Internal;
  const details: Details | undefined =
    about === undefined
      ? undefined
      : {
          ...(about.name === undefined ? {} : { name: about.name }),
          ...(about.type.group === '' ? {} : { group: about.type.group }),
          kind: about.type.plural,
        };
  const message = error instanceof CodedError ? error.message : `Internal error occurred: ${messageOf(error)}`;
  return failure(code, reason, message, details);
}

function failure(code: number, reason: string, message: string, details?: Details): ApiStatus {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message,
    reason,
    ...(details === undefined ? {} : { details }),
    code,
  };
}

export function badRequest(message: string): StatusError {
  return new StatusError('InvalidArgument', 400, 'BadRequest', message);
}

export function noSuchResource(): StatusError {
  return new StatusError('NotFound', 404, 'NotFound', 'the server could not find the requested resource', {});
}

export function notFound(type: Named, name: string): StatusError {
  const group = type.group === '' ? {} : { group: type.group };
  const qualified = type.group === '' ? type.plural : `${type.plural}.${type.group}`;
  return new StatusError('NotFound', 404, 'NotFound', `${qualified} "${name}" not found`, {
    name,
    ...group,
    kind: type.plural,
  });
}

export function conflict(type: Named, name: string, why: string): StatusError {
  const qualified = type.group === '' ? type.plural : `${type.plural}.${type.group}`;
  const message = `Operation cannot be fulfilled on ${qualified} "${name}": ${why}`;
  const group = type.group === '' ? {} : { group: type.group };
  return new StatusError('Conflict', 409, 'Conflict', message, { name, ...group, kind: type.plural });
}

export function forbidden(type: Named, name: string, why: string, causes?: Details['causes']): StatusError {
  const qualified = type.group === '' ? type.plural : `${type.plural}.${type.group}`;
  const message = `${qualified}${name === '' ? '' : ` "${name}"`} is forbidden: ${why}`;
  return new StatusError('Forbidden', 403, 'Forbidden', message, {
    ...(name === '' ? {} : { name }),
    ...(type.group === '' ? {} : { group: type.group }),
    kind: type.plural,
    ...(causes === undefined ? {} : { causes }),
  });
}

/** 422 with one cause a field (errors.NewInvalid). */
export function invalid(type: Named, name: string, errors: readonly FieldError[]): StatusError {
  const texts = [...new Set(errors.map(({ field, message }) => `${field}: ${message}`))];
  const qualified = type.group === '' ? type.kind : `${type.kind}.${type.group}`;
  const list = texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`;
  return new StatusError('InvalidObject', 422, 'Invalid', `${qualified} "${name}" is invalid: ${list}`, {
    name,
    ...(type.group === '' ? {} : { group: type.group }),
    kind: type.kind,
    causes: errors.map(({ field, reason, message }) => ({ reason, message, field })),
  });
}

export function expired(message: string): StatusError {
  return new StatusError('Gone', 410, 'Expired', message);
}

export function methodNotAllowed(): StatusError {
  return new StatusError(
    'InvalidArgument',
    405,
    'MethodNotAllowed',
    'the server does not allow this method on the requested resource',
    {},
  );
}

export function notAcceptable(): StatusError {
  const message = 'only the following media types are accepted: application/json';
  return new StatusError('InvalidArgument', 406, 'NotAcceptable', message);
}

export function unsupportedMediaType(got: string, accepted: readonly string[]): StatusError {
  const message = `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')} (it is ${got === '' ? 'not named' : got})`;
  return new StatusError('InvalidArgument', 415, 'UnsupportedMediaType', message);
}

export function tooLarge(limitBytes: number): StatusError {
  const message = `Request entity too large: limit is ${limitBytes}`;
  return new StatusError('InvalidArgument', 413, 'RequestEntityTooLarge', message);
}

export function tooManyRequests(retryAfterSeconds: number): StatusError {
  const message = 'too many requests, please try again later';
  return new StatusError('TooManyRequests', 429, 'TooManyRequests', message, { retryAfterSeconds });
}

export function unauthorized(): StatusError {
  return new StatusError('Unauthorized', 401, 'Unauthorized', 'Unauthorized');
}

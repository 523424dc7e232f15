import { CodedError, type ErrorCode, type Metadata } from '../../kit/errors.ts';

/** gRPC's status codes by number (grpc.github.io/grpc/core/md_doc_statuscodes.html). */
const CODES: readonly ErrorCode[] = [
  'Internal', // OK, which no failure has
  'Aborted', // CANCELLED
  'Internal', // UNKNOWN: what containerd answers where nothing better is known
  'InvalidArgument',
  'DeadlineExceeded',
  'NotFound',
  'AlreadyExists',
  'Forbidden', // PERMISSION_DENIED
  'ResourceExhausted',
  'Conflict', // FAILED_PRECONDITION
  'Aborted',
  'InvalidArgument', // OUT_OF_RANGE
  'Unimplemented',
  'Internal',
  'Unavailable',
  'Internal', // DATA_LOSS
  'Unauthorized',
];

/**
 * containerd answers UNKNOWN (2.x: FAILED_PRECONDITION) for these although their kind is known (pkg/cri: registrar.go, container_start.go,
 * instrumented_service.go).
 */
const KNOWN_WORDS: readonly (readonly [RegExp, ErrorCode])[] = [
  [/\bis reserved for\b/, 'AlreadyExists'],
  [/\bis in CONTAINER_\w+ state\b/, 'Conflict'],
  [/\bcontainer(?: ".*")? is not running\b/, 'Conflict'],
  [/\bserver is not initialized yet\b/, 'Unavailable'],
];

const VAGUE: readonly number[] = [2, 9];

/** The cause inside grpc-js's sentence about a connection that failed. */
const LAST_ERROR = /Last error: (?:Error: )?(.*?)\.? Resolution note:/;

/** What a failed call throws: `<operation> <subject>: <the runtime's words>`, which are in metadata.runtimeMessage too. */
export function criError(
  status: { readonly code: number; readonly details: string },
  operation: string,
  subject: string,
  cause?: unknown,
): CodedError {
  const words = VAGUE.includes(status.code) ? KNOWN_WORDS.find(([pattern]) => pattern.test(status.details)) : undefined;
  const code = words?.[1] ?? CODES[status.code] ?? 'Internal';
  const runtimeMessage = LAST_ERROR.exec(status.details)?.[1] ?? (status.details || `gRPC status ${status.code}`);
  const metadata: Metadata = { operation, subject, grpcCode: status.code, runtimeMessage };
  const what = subject === '' ? operation : `${operation} ${subject}`;
  return new CodedError(code, `${what}: ${runtimeMessage}`, metadata, cause);
}

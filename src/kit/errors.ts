/**
 * Every kind of failure that deckhand tells apart. Callers decide on the code, people read the message.
 * `retryable` kinds are those that may pass by themselves.
 */
export type ErrorCode =
  | 'InvalidArgument'
  | 'InvalidConfig'
  | 'InvalidObject'
  | 'NotFound'
  | 'AlreadyExists'
  | 'Conflict'
  | 'Forbidden'
  | 'Unauthorized'
  | 'Gone'
  | 'TooManyRequests'
  | 'Unavailable'
  | 'DeadlineExceeded'
  | 'Unimplemented'
  | 'ResourceExhausted'
  | 'Aborted'
  | 'CommandFailed'
  | 'Internal';

export type Metadata = Readonly<Record<string, string | number | boolean | undefined>>;

/** An error classified where it entered: a code to decide on, a message to read, metadata to search logs by. */
export class CodedError extends Error {
  readonly code: ErrorCode;
  readonly metadata: Metadata;

  constructor(code: ErrorCode, message: string, metadata: Metadata = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'CodedError';
    this.code = code;
    this.metadata = metadata;
  }
}

export function hasCode(error: unknown, ...codes: readonly ErrorCode[]): boolean {
  return error instanceof CodedError && codes.includes(error.code);
}

/** The message of anything thrown, without its stack. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Runs every step although some fail, then throws one error that names all failures (principle 17: teardown). */
export async function tryAll(what: string, steps: Iterable<() => unknown>): Promise<void> {
  const failures: unknown[] = [];
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length === 1) throw failures[0];
  if (failures.length > 1) {
    throw new CodedError('Internal', `${what}: ${failures.map(messageOf).join('; ')}`, { failures: failures.length });
  }
}

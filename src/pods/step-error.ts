import { CodedError, type ErrorCode, messageOf } from '../kit/errors.ts';

/** A failed step with the reason that the pod's status or its event shows for it, in Kubernetes' words. */
export class StepError extends CodedError {
  readonly reason: string;

  constructor(reason: string, message: string, code: ErrorCode = 'Internal', cause?: unknown) {
    super(code, message, { reason }, cause);
    this.name = 'StepError';
    this.reason = reason;
  }
}

/** Runs `work`; what it throws becomes a StepError with this reason, unless it is one already. */
export async function withReason<T>(reason: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof StepError) throw error;
    throw new StepError(reason, messageOf(error), error instanceof CodedError ? error.code : 'Internal', error);
  }
}

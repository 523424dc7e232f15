import { CodedError, type ErrorCode, messageOf } from '../kit/errors.ts';
import { codeName } from '../kit/grpc-codes.ts';

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
    throw new StepError(reason, runtimeWords(error), error instanceof CodedError ? error.code : 'Internal', error);
  }
}

/** What a failed call says to users: the runtime's own words without deckhand's name for the call, as kubelet gives them. */
function runtimeWords(error: unknown): string {
  const words = error instanceof CodedError ? error.metadata['runtimeMessage'] : undefined;
  return typeof words === 'string' ? words : messageOf(error);
}

/** The same for the calls whose errors kubelet prints as gRPC's Go library does. */
export function rpcErrorText(error: unknown): string {
  const failure = error instanceof StepError ? error.cause : error;
  const code = failure instanceof CodedError ? failure.metadata['grpcCode'] : undefined;
  if (typeof code !== 'number') return messageOf(error);
  return `rpc error: code = ${codeName(code)} desc = ${runtimeWords(failure)}`;
}

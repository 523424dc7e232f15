import { CodedError, messageOf } from '../../kit/errors.ts';
import { rpcErrorText, StepError } from '../step-error.ts';

/** gRPC status code. */
const UNKNOWN = 2;

/** What kubelet calls a pull's failure when the runtime begins its message with the name (cri-api pkg/errors). */
const SPECIAL: readonly (readonly [string, string])[] = [
  ['RegistryUnavailable', 'the registry is unavailable'],
  ['SignatureValidationFailed', 'the signature validation failed'],
];

/** A runtime's refusal of a pull in the words that kubelet has for it: events and statuses are searched for them. */
export function pullErrorText(error: unknown): string {
  const { grpcCode, runtimeMessage } = error instanceof CodedError ? error.metadata : {};
  if (typeof runtimeMessage !== 'string' || typeof grpcCode !== 'number') return messageOf(error);
  return grpcCode === UNKNOWN ? runtimeMessage : rpcErrorText(error);
}

/** Several attempts with different credentials as one text; the same words once. */
export function allPullErrors(texts: readonly string[]): string {
  const different = [...new Set(texts)];
  return different.length === 1 ? (different[0] ?? '') : `[${different.join(', ')}]`;
}

/** The error that a pod's status shows: ErrImagePull, or a reason that the runtime gave. */
export function pullStepError(image: string, text: string, cause: unknown): StepError {
  for (const [reason, words] of SPECIAL) {
    if (!text.startsWith(reason)) continue;
    const message = `image pull failed for ${image} because ${words}${text.slice(reason.length)}`;
    return new StepError(reason, message, 'Unavailable', cause);
  }
  return new StepError('ErrImagePull', text, 'Unavailable', cause);
}

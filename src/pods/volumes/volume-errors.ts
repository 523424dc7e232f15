import { CodedError, messageOf } from '../../kit/errors.ts';
import { StepError } from '../step-error.ts';

/** Why a pod is refused whose volumes this node cannot take any more. */
export const ATTACH_LIMIT = 'VolumeAttachmentLimitExceeded';

/** kubelet's verbs for the work on a volume, as its events begin. */
export type VolumeWork =
  | 'MountVolume.SetUp failed'
  | 'MountVolume.NodeAffinity check failed'
  | 'MountVolume.MountOptionSupport check failed'
  | 'MapVolume.NodeAffinity check failed'
  | 'MapVolume.SetUpDevice failed'
  | 'MapVolume.MapPodDevice failed'
  | 'MapVolume.MapBlockVolume failed';

/** A failure in kubelet's words (operation_generator.go GenerateError) with the reason of its event. */
export function volumeFailure(work: VolumeWork, specName: string, error: unknown): StepError {
  if (error instanceof StepError) return error;
  const code = error instanceof CodedError ? error.code : 'Internal';
  const message = `${work} for volume "${specName}" : ${messageOf(error)}`;
  // The node's affinity is checked before mapping begins, and reported as any mount's failure is.
  const mapping = work.startsWith('MapVolume') && !work.includes('NodeAffinity');
  return new StepError(mapping ? 'FailedMapVolume' : 'FailedMount', message, code, error);
}

/** One volume that could not be made ready. */
export interface VolumeFailure {
  /** The pod's name for it. */
  readonly name: string;
  readonly error: unknown;
  /** It was never tried, for it is not known what to mount. */
  readonly unresolved: boolean;
}

/** All failures of a pod's volumes in one; those that were never tried are told as kubelet's sync does (volume_manager.go). */
export function failureOfAll(failures: readonly VolumeFailure[]): StepError {
  const unresolved = failures.filter((failure) => failure.unresolved);
  const overLimit = failures.filter(({ error }) => error instanceof StepError && error.reason === ATTACH_LIMIT);
  if (overLimit.length > 0) {
    const text =
      `Node has reached its volume attachment limit, rejecting pod. unmounted volumes=[${namesOf(failures)}], ` +
      `unattached volumes=[${namesOf(overLimit)}], failed to process volumes=[${namesOf(unresolved)}]: ` +
      messageOf(overLimit[0]?.error);
    return new StepError(ATTACH_LIMIT, text, 'ResourceExhausted', overLimit[0]?.error);
  }
  const tried = failures.filter((failure) => !failure.unresolved).map(({ error }) => error);
  if (unresolved.length > 0) {
    const why = unresolved.map(({ error }) => messageOf(error)).join('; ');
    const first = unresolved[0]?.error;
    tried.unshift(
      new StepError(
        'FailedMount',
        `Unable to attach or mount volumes: unmounted volumes=[${namesOf(failures)}], unattached volumes=[], ` +
          `failed to process volumes=[${namesOf(unresolved)}]: ${why}`,
        first instanceof CodedError ? first.code : 'Internal',
        first,
      ),
    );
  }
  const [first] = tried;
  if (tried.length === 1 && first instanceof StepError) return first;
  const { reason, code } = first instanceof StepError ? first : { reason: 'FailedMount', code: 'Internal' as const };
  return new StepError(reason, tried.map(messageOf).join('; '), code, first);
}

function namesOf(list: readonly VolumeFailure[]): string {
  return list
    .map(({ name }) => name)
    .sort()
    .join(' ');
}

export function notReady(specName: string): CodedError {
  return new CodedError('Unavailable', 'its contents are not set up (again) yet', { volume: specName });
}

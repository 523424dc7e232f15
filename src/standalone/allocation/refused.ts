import { CodedError } from '../../kit/errors.ts';
import type { Pod } from '../../model/pod.ts';
import type { ResourceType } from '../../model/resource.ts';

/** 403 with a reason, as admission plugins answer. */
export function refused(type: ResourceType, object: Pod, problem: string): CodedError {
  const name = object.metadata.name ?? object.metadata.generateName ?? '';
  return new CodedError('Forbidden', `${type.plural} ${JSON.stringify(name)} is forbidden: ${problem}`, {
    kind: type.kind,
    name,
    reason: 'Forbidden',
  });
}

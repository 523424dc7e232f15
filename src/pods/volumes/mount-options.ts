import type { Mount } from '../../host/cri/port.ts';
import { CodedError } from '../../kit/errors.ts';
import type { VolumeMount } from '../../model/pod.ts';
import { expandKnown } from '../environment/expand.ts';

/** A mount's subPath with subPathExpr expanded; "" is none. Throws InvalidObject for a variable that is not known. */
export function subPathOf(mount: VolumeMount, environment: Readonly<Record<string, string>>): string {
  if (!mount.subPathExpr) return mount.subPath ?? '';
  const { text, missing } = expandKnown(mount.subPathExpr, environment);
  const [first] = missing;
  if (first === undefined) return text;
  throw new CodedError('InvalidObject', `subPathExpr \`${mount.subPathExpr}\`: missing value for "${first}"`, {
    variable: first,
  });
}

export function propagationOf(mount: VolumeMount): Mount['propagation'] {
  switch (mount.mountPropagation ?? 'None') {
    case 'Bidirectional':
      return 'BIDIRECTIONAL';
    case 'HostToContainer':
      return 'HOST_TO_CONTAINER';
    default:
      return 'PRIVATE';
  }
}

/** `able`: the pod's runtime handler can do it. Throws InvalidObject where it is demanded and cannot be had. */
export function isRecursiveReadOnly(mount: VolumeMount, able: boolean): boolean {
  const { recursiveReadOnly = 'Disabled', readOnly, mountPropagation = 'None', name } = mount;
  if (recursiveReadOnly === 'Disabled') return false;
  if (recursiveReadOnly === 'IfPossible') return able && readOnly === true && mountPropagation === 'None';
  const refuse = (why: string): never => {
    throw new CodedError('InvalidObject', `volume "${name}" requested recursive read-only mode, but ${why}`, {
      volume: name,
    });
  };
  if (readOnly !== true) refuse('it is not read-only');
  if (mountPropagation !== 'None') refuse(`it is not compatible with propagation "${mountPropagation}"`);
  if (!able) refuse('it is not supported by the runtime');
  return true;
}

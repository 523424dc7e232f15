import type { Image } from '../../host/cri/port.ts';
import { CodedError } from '../../kit/errors.ts';
import type { Container, Pod } from '../../model/pod.ts';
import { effectiveContext } from './effective-context.ts';

export interface ImageUser {
  readonly uid?: number;
  readonly username?: string;
}

/** The user that an image runs as: its uid, else its user name, else root (kuberuntime getImageUser). */
export function imageUserOf(image: Pick<Image, 'uid' | 'username'>): ImageUser {
  if (image.uid !== undefined) return { uid: image.uid };
  return image.username === '' ? { uid: 0 } : { username: image.username };
}

/**
 * Refuses a container that says runAsNonRoot and would run as root, or as a user whose number is unknown (kuberuntime
 * verifyRunAsNonRoot, its words). Throws Forbidden with metadata.reason CreateContainerConfigError.
 */
export function verifyRunAsNonRoot(pod: Pod, container: Container, image: Pick<Image, 'uid' | 'username'>): void {
  const context = effectiveContext(pod, container);
  if (context.runAsNonRoot !== true) return;
  if (context.runAsUser !== undefined) {
    if (context.runAsUser === 0) refuse("container's runAsUser breaks non-root policy", pod, container);
    return;
  }
  const { uid, username } = imageUserOf(image);
  if (uid === 0) refuse('container has runAsNonRoot and image will run as root', pod, container);
  if (uid === undefined) {
    refuse(
      `container has runAsNonRoot and image has non-numeric user (${username}), cannot verify user is non-root`,
      pod,
      container,
    );
  }
}

function refuse(what: string, pod: Pod, container: Container): never {
  const { name = '', namespace = '', uid = '' } = pod.metadata;
  throw new CodedError('Forbidden', `${what} (pod: "${name}_${namespace}(${uid})", container: ${container.name})`, {
    reason: 'CreateContainerConfigError',
    container: container.name,
  });
}

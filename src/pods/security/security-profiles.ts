import type { SELinuxOption, SecurityProfileConfig } from '../../host/cri/port.ts';
import { CodedError } from '../../kit/errors.ts';
import type { Container, Pod, SELinuxOptions, SecurityContext } from '../../model/pod.ts';
import { effectiveContext } from './effective-context.ts';

/**
 * The seccomp profile of a container: its own, else the pod's, else RuntimeDefault where the node says seccompDefault,
 * else Unconfined. A Localhost profile is a path below `profileRoot` (`<root>/seccomp`). Throws InvalidObject for one
 * without a name or one that leaves that directory.
 */
export function seccompOf(
  pod: Pod,
  container: Container,
  options: { readonly profileRoot: string; readonly seccompDefault: boolean },
): SecurityProfileConfig {
  const profile = effectiveContext(pod, container).seccompProfile;
  if (profile === undefined) return { type: options.seccompDefault ? 'RuntimeDefault' : 'Unconfined' };
  if (profile.type !== 'Localhost') return { type: profile.type };
  const name = profile.localhostProfile ?? '';
  if (name === '') {
    throw new CodedError('InvalidObject', 'localhostProfile must be set if seccompProfile type is Localhost.');
  }
  if (name.startsWith('/') || name.split('/').includes('..')) {
    throw new CodedError(
      'InvalidObject',
      `seccompProfile.localhostProfile ${JSON.stringify(name)} must be a path below ${options.profileRoot} without ".."`,
      { localhostProfile: name },
    );
  }
  return { type: 'Localhost', localhostRef: `${options.profileRoot}/${name}` };
}

const APPARMOR_ANNOTATION = 'container.apparmor.security.beta.kubernetes.io/';

/**
 * The AppArmor profile of a container: its field, else the legacy annotation, else the pod's field, else none
 * (pkg/security/apparmor GetProfile). Throws InvalidObject for a Localhost profile without a name.
 */
export function appArmorOf(pod: Pod, container: Container): SecurityProfileConfig | undefined {
  const profile =
    container.securityContext?.appArmorProfile ??
    annotated(pod, container) ??
    pod.spec.securityContext?.appArmorProfile;
  if (profile === undefined) return undefined;
  if (profile.type !== 'Localhost') return { type: profile.type };
  if (!profile.localhostProfile) {
    throw new CodedError('InvalidObject', 'localhostProfile must be set if appArmorProfile type is Localhost.');
  }
  return { type: 'Localhost', localhostRef: profile.localhostProfile };
}

function annotated(pod: Pod, container: Container): SecurityContext['appArmorProfile'] {
  const value = pod.metadata.annotations?.[APPARMOR_ANNOTATION + container.name];
  if (value === undefined) return undefined;
  if (value === 'runtime/default') return { type: 'RuntimeDefault' };
  if (value === 'unconfined') return { type: 'Unconfined' };
  if (value.startsWith('localhost/')) return { type: 'Localhost', localhostProfile: value.slice('localhost/'.length) };
  throw new CodedError(
    'InvalidObject',
    `annotation ${APPARMOR_ANNOTATION}${container.name}: invalid AppArmor profile ${JSON.stringify(value)}; want runtime/default, unconfined or localhost/NAME`,
  );
}

export function selinuxOf(options: SELinuxOptions | undefined): SELinuxOption | undefined {
  if (options === undefined) return undefined;
  const { user = '', role = '', type = '', level = '' } = options;
  return { user, role, type, level };
}

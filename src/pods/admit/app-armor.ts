import type { Pod, SecurityProfile } from '../../model/pod.ts';
import { containersOf } from '../container-kinds.ts';

const ANNOTATION = 'container.apparmor.security.beta.kubernetes.io/';

/** Why the pod's AppArmor profiles cannot be enforced on this node, or undefined (pkg/security/apparmor Validate). */
export function appArmorError(pod: Pod, enabled: boolean): string | undefined {
  if (!usesAppArmor(pod)) return undefined;
  if (!enabled) return 'AppArmor is not enabled on the host';
  const nameless = profilesOf(pod).some(
    ({ type, localhostProfile = '' }) => type === 'Localhost' && localhostProfile.trim() === '',
  );
  return nameless ? 'invalid empty AppArmor profile name: ""' : undefined;
}

function usesAppArmor(pod: Pod): boolean {
  if (profilesOf(pod).some(({ type }) => type !== 'Unconfined')) return true;
  const annotated = Object.entries(pod.metadata.annotations ?? {}).filter(([key]) => key.startsWith(ANNOTATION));
  return annotated.some(([, value]) => value !== 'unconfined');
}

function profilesOf(pod: Pod): SecurityProfile[] {
  const own = containersOf(pod).map(({ container }) => container.securityContext?.appArmorProfile);
  return [pod.spec.securityContext?.appArmorProfile, ...own].filter((profile) => profile !== undefined);
}

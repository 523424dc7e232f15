import type { PodSecurityContext, PodSpec, SecurityContext, SecurityProfile } from '../../model/pod.ts';
import type { FieldError } from '../port.ts';
import { child, duplicate, forbidden, invalid, required } from './field-errors.ts';
import { localDescendingPathErrors } from './paths.ts';

const MAX_ID = 2_147_483_647;
const SYSCTL = /^[a-z0-9]([-_a-z0-9]*[a-z0-9])?([./][a-z0-9]([-_a-z0-9]*[a-z0-9])?)*$/;

export function validatePodSecurityContext(
  context: PodSecurityContext | undefined,
  spec: PodSpec,
  path: string,
): FieldError[] {
  if (context === undefined) return [];
  const errors = [
    ...idErrors(context.runAsUser, child(path, 'runAsUser')),
    ...idErrors(context.runAsGroup, child(path, 'runAsGroup')),
    ...idErrors(context.fsGroup, child(path, 'fsGroup')),
    ...profileErrors('seccomp', context.seccompProfile, child(path, 'seccompProfile')),
    ...profileErrors('AppArmor', context.appArmorProfile, child(path, 'appArmorProfile')),
  ];
  for (const [index, group] of (context.supplementalGroups ?? []).entries()) {
    errors.push(...idErrors(group, `${path}.supplementalGroups[${index}]`));
  }
  const names = new Set<string>();
  for (const [index, sysctl] of (context.sysctls ?? []).entries()) {
    const at = `${path}.sysctls[${index}].name`;
    const name = sysctl.name ?? '';
    if (name === '') errors.push(required(at));
    else if (name.length > 253 || !SYSCTL.test(name)) {
      errors.push(
        invalid(at, name, 'must have at most 253 characters and consist of lower case segments joined by "." or "/"'),
      );
    } else if (names.has(name)) errors.push(duplicate(at, name));
    else if (spec.hostNetwork === true && name.startsWith('net.')) {
      errors.push(invalid(at, name, 'may not be specified when `hostNetwork` is true'));
    } else if (spec.hostIPC === true && /^(kernel\.(shm|msg|sem)|fs\.mqueue\.)/.test(name)) {
      errors.push(invalid(at, name, 'may not be specified when `hostIPC` is true'));
    }
    names.add(name);
  }
  return errors;
}

export function validateSecurityContext(
  context: SecurityContext | undefined,
  path: string,
  hostUsers: boolean | undefined,
): FieldError[] {
  if (context === undefined) return [];
  const errors = [
    ...idErrors(context.runAsUser, child(path, 'runAsUser')),
    ...idErrors(context.runAsGroup, child(path, 'runAsGroup')),
    ...profileErrors('seccomp', context.seccompProfile, child(path, 'seccompProfile')),
    ...profileErrors('AppArmor', context.appArmorProfile, child(path, 'appArmorProfile')),
  ];
  if (context.procMount === 'Unmasked' && hostUsers !== false) {
    errors.push(invalid(child(path, 'procMount'), context.procMount, '`hostUsers` must be false to use `Unmasked`'));
  }
  if (context.allowPrivilegeEscalation === false) {
    if (context.privileged === true) {
      errors.push(invalid(path, context, 'cannot set `allowPrivilegeEscalation` to false and `privileged` to true'));
    }
    if (context.capabilities?.add?.includes('CAP_SYS_ADMIN') === true) {
      errors.push(
        invalid(path, context, 'cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN'),
      );
    }
  }
  return errors;
}

function idErrors(id: number | undefined, path: string): FieldError[] {
  if (id === undefined || (id >= 0 && id <= MAX_ID)) return [];
  return [invalid(path, id, `must be between 0 and ${MAX_ID}, inclusive`)];
}

function profileErrors(what: string, profile: SecurityProfile | undefined, path: string): FieldError[] {
  if (profile === undefined) return [];
  const at = child(path, 'localhostProfile');
  if (!profile.type) return [required(child(path, 'type'))];
  if (profile.type !== 'Localhost') {
    if (profile.localhostProfile === undefined) return [];
    return [invalid(at, profile.localhostProfile, `can only be set when ${what} type is Localhost`)];
  }
  if (!profile.localhostProfile) return [required(at, `must be set when ${what} type is Localhost`)];
  // An AppArmor profile is a name that was loaded, a seccomp profile a file below kubelet's directory.
  return what === 'seccomp' ? localDescendingPathErrors(profile.localhostProfile, at) : [];
}

/** What `hostUsers: false` and shared namespaces exclude. */
export function validateHostNamespaces(spec: PodSpec, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (spec.shareProcessNamespace === true && spec.hostPID === true) {
    errors.push(
      invalid(child(path, 'shareProcessNamespace'), true, 'ShareProcessNamespace and HostPID cannot both be enabled'),
    );
  }
  if (spec.hostUsers !== false) return errors;
  for (const name of ['hostNetwork', 'hostPID', 'hostIPC'] as const) {
    if (spec[name] === true) errors.push(forbidden(child(path, name), 'when `hostUsers` is false'));
  }
  return errors;
}

import type { ContainerSecurity, IdMapping, Image } from '../../host/cri/port.ts';
import type { Container, Pod } from '../../model/pod.ts';
import { DEFAULT_MASKED_PATHS, DEFAULT_READONLY_PATHS } from './default-paths.ts';
import { effectiveContext } from './effective-context.ts';
import { supplementalGroupsOf } from './groups.ts';
import { namespaceOptions } from './namespace-options.ts';
import { imageUserOf } from './run-as-non-root.ts';
import { appArmorOf, seccompOf, selinuxOf } from './security-profiles.ts';

export interface SecurityOptions {
  /** `<root>/seccomp`. */
  readonly seccompProfileRoot: string;
  /** KubeletConfiguration seccompDefault. */
  readonly seccompDefault: boolean;
  /** This machine's own paths to hide, such as each CPU's thermal_throttle directory. */
  readonly extraMaskedPaths?: readonly string[];
  /** Group ids that volumes bring along. */
  readonly extraGroups?: readonly number[];
  /** The container id that an ephemeral container's targetContainerName stands for. */
  readonly targetId?: string;
  /** Of a pod with a user namespace of its own. */
  readonly userMapping?: IdMapping;
}

/**
 * A container's security as CRI takes it (kuberuntime determineEffectiveSecurityContext). The image's user is passed on
 * where the pod names none, so that a runtime never has to guess. Throws InvalidObject for a profile without a name;
 * call verifyRunAsNonRoot first.
 */
export function containerSecurity(
  pod: Pod,
  container: Container,
  image: Pick<Image, 'uid' | 'username'>,
  options: SecurityOptions,
): ContainerSecurity {
  const context = effectiveContext(pod, container);
  const policy = pod.spec.securityContext?.supplementalGroupsPolicy;
  const selinuxOptions = selinuxOf(context.seLinuxOptions);
  const apparmor = appArmorOf(pod, container);
  const unmasked = context.procMount === 'Unmasked';
  const user =
    context.runAsUser !== undefined
      ? { runAsUser: context.runAsUser }
      : (({ uid, username }) => (uid !== undefined ? { runAsUser: uid } : { runAsUsername: username ?? '' }))(
          imageUserOf(image),
        );
  return {
    addCapabilities: context.capabilities?.add ?? [],
    dropCapabilities: context.capabilities?.drop ?? [],
    privileged: context.privileged === true,
    namespaceOptions: namespaceOptions(pod, container, options),
    ...user,
    ...(context.runAsGroup === undefined ? {} : { runAsGroup: context.runAsGroup }),
    readonlyRootfs: context.readOnlyRootFilesystem === true,
    supplementalGroups: supplementalGroupsOf(pod, options.extraGroups),
    ...(policy === undefined ? {} : { supplementalGroupsPolicy: policy }),
    noNewPrivs: context.allowPrivilegeEscalation === false,
    maskedPaths: unmasked ? [] : [...DEFAULT_MASKED_PATHS, ...(options.extraMaskedPaths ?? [])],
    readonlyPaths: unmasked ? [] : DEFAULT_READONLY_PATHS,
    seccomp: seccompOf(pod, container, {
      profileRoot: options.seccompProfileRoot,
      seccompDefault: options.seccompDefault,
    }),
    ...(selinuxOptions === undefined ? {} : { selinuxOptions }),
    ...(apparmor === undefined ? {} : { apparmor }),
  };
}

import type { IdMapping, PodSandboxConfig } from '../../host/cri/port.ts';
import type { Pod } from '../../model/pod.ts';
import { supplementalGroupsOf } from './groups.ts';
import { namespaceOptions } from './namespace-options.ts';
import { selinuxOf } from './security-profiles.ts';
import { sysctlsOf } from './sysctls.ts';

export type SandboxSecurity = Pick<
  PodSandboxConfig['linux'],
  | 'namespaceOptions'
  | 'selinuxOptions'
  | 'runAsUser'
  | 'runAsGroup'
  | 'readonlyRootfs'
  | 'supplementalGroups'
  | 'supplementalGroupsPolicy'
  | 'privileged'
  | 'seccomp'
  | 'sysctls'
>;

/**
 * The security part of a sandbox's configuration (kuberuntime generatePodSandboxLinuxConfig). The sandbox itself always
 * runs with the runtime's default seccomp profile, so that a pod's own, tighter one need not allow what the pause
 * process does; it is privileged as soon as one container is.
 */
export function sandboxSecurity(pod: Pod, extraGroups?: readonly number[], userMapping?: IdMapping): SandboxSecurity {
  const { runAsUser, runAsGroup, seLinuxOptions, supplementalGroupsPolicy } = pod.spec.securityContext ?? {};
  const selinuxOptions = selinuxOf(seLinuxOptions);
  const { initContainers = [], containers, ephemeralContainers = [] } = pod.spec;
  const all = [...initContainers, ...containers, ...ephemeralContainers];
  return {
    namespaceOptions: namespaceOptions(pod, undefined, userMapping === undefined ? {} : { userMapping }),
    ...(selinuxOptions === undefined ? {} : { selinuxOptions }),
    ...(runAsUser === undefined ? {} : { runAsUser }),
    // CRI refuses a group without a user.
    ...(runAsGroup === undefined || runAsUser === undefined ? {} : { runAsGroup }),
    readonlyRootfs: false,
    supplementalGroups: supplementalGroupsOf(pod, extraGroups),
    ...(supplementalGroupsPolicy === undefined ? {} : { supplementalGroupsPolicy }),
    privileged: all.some((container) => container.securityContext?.privileged === true),
    seccomp: { type: 'RuntimeDefault' },
    sysctls: sysctlsOf(pod),
  };
}

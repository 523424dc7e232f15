import type { DNSConfig, IdMapping, LinuxResources, PodSandboxConfig, PortMapping } from '../../host/cri/port.ts';
import type { Pod } from '../../model/pod.ts';
import { isSidecar } from '../../model/pod-resources.ts';
import { identityOf, podLabels, podLogDirectory } from '../identity.ts';
import { sandboxHostnameOf } from '../network-files/hostname.ts';
import { sandboxSecurity } from '../security/sandbox-security.ts';

export interface SandboxConfigInput {
  readonly attempt: number;
  readonly cgroupParent: string;
  readonly podLogsDir: string;
  readonly clusterDomain: string;
  readonly dns: DNSConfig;
  /** Groups that the pod's volumes ask for. */
  readonly extraGroups?: readonly number[];
  /** Of a pod with a user namespace of its own. */
  readonly userMapping?: IdMapping | undefined;
  readonly resources: { readonly overhead: LinuxResources; readonly resources: LinuxResources };
}

/** What CRI is told of a pod's sandbox (kuberuntime generatePodSandboxConfig). Throws InvalidObject (host name). */
export function sandboxConfig(pod: Pod, input: SandboxConfigInput): PodSandboxConfig {
  const identity = identityOf(pod);
  return {
    metadata: { ...identity, attempt: input.attempt },
    hostname: sandboxHostnameOf(pod, input.clusterDomain),
    logDirectory: podLogDirectory(input.podLogsDir, identity),
    dnsConfig: input.dns,
    portMappings: portMappings(pod),
    labels: { ...pod.metadata.labels, ...podLabels(identity) },
    annotations: { ...pod.metadata.annotations },
    linux: {
      cgroupParent: input.cgroupParent,
      ...sandboxSecurity(pod, input.extraGroups, input.userMapping),
      overhead: input.resources.overhead,
      resources: input.resources.resources,
    },
  };
}

/** Ports of containers that ask for one on the host; in the host's network there is nothing to map. */
function portMappings(pod: Pod): PortMapping[] {
  if (pod.spec.hostNetwork === true) return [];
  // Init containers that end have no say: what listens for long are sidecars and app containers.
  const containers = [...(pod.spec.initContainers ?? []).filter(isSidecar), ...pod.spec.containers];
  return containers.flatMap((container) =>
    (container.ports ?? []).flatMap((port) =>
      port.hostPort === undefined || port.hostPort === 0
        ? []
        : [
            {
              protocol: port.protocol ?? ('TCP' as const),
              containerPort: port.containerPort,
              hostPort: port.hostPort,
              hostIp: port.hostIP ?? '',
            },
          ],
    ),
  );
}

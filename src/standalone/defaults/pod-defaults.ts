import { canonicalQuantity } from '../../model/canonical-quantity.ts';
import type { ResourceList } from '../../model/meta.ts';
import type {
  Container,
  ContainerPort,
  DownwardAPIVolumeFile,
  EnvVar,
  HTTPGetAction,
  Pod,
  PodSpec,
  Probe,
  PullPolicy,
  ResourceRequirements,
  Volume,
  VolumeProjection,
} from '../../model/pod.ts';
import { containerRequests, isPodLevelResource, podLimits } from '../../model/pod-resources.ts';
import { formatNano, type Nano } from '../../model/quantity.ts';

/** rw-r--r--, the mode of files made from ConfigMaps, Secrets and the downward API. */
const FILE_MODE = 0o644;

/** Fills a pod's defaults in place (pkg/apis/core/v1/defaults.go, SetObjectDefaults_Pod). */
export function applyPodDefaults(pod: Pod): void {
  const spec = pod.spec ?? {};
  pod.spec = spec;
  spec.containers ??= [];
  applyPodSpecDefaults(spec);
}

function applyPodSpecDefaults(spec: PodSpec & { serviceAccount?: string }): void {
  spec.restartPolicy ||= 'Always';
  spec.dnsPolicy ||= 'ClusterFirst';
  spec.terminationGracePeriodSeconds ??= 30;
  spec.schedulerName ||= 'default-scheduler';
  spec.enableServiceLinks ??= true;
  spec.securityContext ??= {};
  // The older name of the same field; whichever is set, both are given back.
  const account = spec.serviceAccountName || spec.serviceAccount;
  if (account !== undefined && account !== '') {
    spec.serviceAccountName = account;
    spec.serviceAccount = account;
  }
  for (const volume of spec.volumes ?? []) applyVolumeDefaults(volume);
  for (const container of [...(spec.initContainers ?? []), ...spec.containers]) {
    applyContainerDefaults(container, spec.hostNetwork === true);
    applyResourceDefaults(container);
  }
  for (const container of spec.ephemeralContainers ?? []) applyContainerDefaults(container, false);
  if (spec.resources !== undefined) applyPodResourceDefaults(spec, spec.resources);
}

function applyContainerDefaults(container: Container, hostNetwork: boolean): void {
  container.terminationMessagePath ||= '/dev/termination-log';
  container.terminationMessagePolicy ||= 'File';
  if (!container.imagePullPolicy) container.imagePullPolicy = pullPolicyFor(container.image ?? '');
  container.resources ??= {};
  for (const port of container.ports ?? []) applyPortDefaults(port, hostNetwork);
  for (const variable of container.env ?? []) applyEnvDefaults(variable);
  applyProbeDefaults(container.livenessProbe);
  applyProbeDefaults(container.readinessProbe);
  applyProbeDefaults(container.startupProbe);
  applyHttpDefaults(container.lifecycle?.postStart?.httpGet);
  applyHttpDefaults(container.lifecycle?.preStop?.httpGet);
}

/** Always for a tag "latest" or none, IfNotPresent for any other tag and for digests. */
export function pullPolicyFor(image: string): PullPolicy {
  if (image.includes('@')) return 'IfNotPresent';
  // A colon before the last slash is a registry's port.
  const name = image.slice(image.lastIndexOf('/') + 1);
  const tag = name.includes(':') ? name.slice(name.indexOf(':') + 1) : 'latest';
  return tag === 'latest' ? 'Always' : 'IfNotPresent';
}

function applyPortDefaults(port: ContainerPort, hostNetwork: boolean): void {
  port.protocol ||= 'TCP';
  if (hostNetwork && port.containerPort > 0) port.hostPort ||= port.containerPort;
}

function applyEnvDefaults(variable: EnvVar): void {
  const fieldRef = variable.valueFrom?.fieldRef;
  if (fieldRef !== undefined) fieldRef.apiVersion ||= 'v1';
  const resourceRef = variable.valueFrom?.resourceFieldRef;
  if (resourceRef !== undefined) resourceRef.divisor ??= '0';
}

function applyProbeDefaults(probe: Probe | undefined): void {
  if (probe === undefined) return;
  probe.timeoutSeconds ||= 1;
  probe.periodSeconds ||= 10;
  probe.successThreshold ||= 1;
  probe.failureThreshold ||= 3;
  applyHttpDefaults(probe.httpGet);
  if (probe.grpc !== undefined) probe.grpc.service ??= '';
}

function applyHttpDefaults(action: HTTPGetAction | undefined): void {
  if (action === undefined) return;
  action.path ||= '/';
  action.scheme ||= 'HTTP';
}

/** A request that is not given is as large as the limit. */
function applyResourceDefaults({ resources }: Container): void {
  if (resources?.limits !== undefined) resources.requests = { ...resources.limits, ...resources.requests };
}

/**
 * Pod-level values (KEP-2837) that are not given: of huge pages the limit is what the containers have together; requests
 * are the containers' together where these ask for the resource, else the limit.
 */
function applyPodResourceDefaults(spec: PodSpec, resources: ResourceRequirements): void {
  const pod: Pod = { metadata: {}, spec };
  const limits = podLimits({ ...pod, spec: withoutPodLevel(spec) });
  for (const [name, amount] of Object.entries(limits)) {
    if (isEmpty(resources.limits) && isEmpty(resources.requests)) break;
    if (!name.startsWith('hugepages-') || resources.requests?.[name] !== undefined) continue;
    resources.limits = { [name]: sumText(spec, 'limits', name, amount), ...resources.limits };
  }
  if (isEmpty(resources.limits)) return;
  const requests = { ...resources.requests };
  for (const [name, amount] of Object.entries(containerRequests(pod))) {
    if (name === 'cpu' || name === 'memory') requests[name] ??= sumText(spec, 'requests', name, amount);
  }
  for (const [name, limit] of Object.entries(resources.limits ?? {})) {
    if (isPodLevelResource(name)) requests[name] ??= limit;
  }
  if (!isEmpty(requests)) resources.requests = requests;
}

function withoutPodLevel({ resources: _resources, overhead: _overhead, ...spec }: PodSpec): PodSpec {
  return spec;
}

function isEmpty(list: ResourceList | undefined): boolean {
  return Object.keys(list ?? {}).length === 0;
}

/** A sum of bytes is written as its first part is ("64Mi" or "64M"). */
function sumText(
  { containers, initContainers = [] }: PodSpec,
  list: 'requests' | 'limits',
  name: string,
  amount: Nano,
): string {
  const parts = [...containers, ...initContainers].map(({ resources }) => resources?.[list]?.[name]);
  const first = String(parts.find((part) => part !== undefined) ?? '');
  const whole = amount / 1_000_000_000n;
  if (first.endsWith('i') && whole % 1024n === 0n) return canonicalQuantity(`${whole / 1024n}Ki`);
  return canonicalQuantity(formatNano(amount));
}

function applyVolumeDefaults(volume: Volume): void {
  const sources = Object.keys(volume).filter((key) => key !== 'name');
  if (sources.length === 0) volume.emptyDir = {};
  if (volume.hostPath !== undefined) volume.hostPath.type ??= '';
  if (volume.configMap !== undefined) volume.configMap.defaultMode ??= FILE_MODE;
  if (volume.secret !== undefined) volume.secret.defaultMode ??= FILE_MODE;
  if (volume.downwardAPI !== undefined) {
    volume.downwardAPI.defaultMode ??= FILE_MODE;
    for (const file of volume.downwardAPI.items ?? []) applyFileDefaults(file);
  }
  if (volume.projected !== undefined) {
    volume.projected.defaultMode ??= FILE_MODE;
    for (const source of volume.projected.sources ?? []) applyProjectionDefaults(source);
  }
  if (volume.image !== undefined && !volume.image.pullPolicy) {
    volume.image.pullPolicy = pullPolicyFor(volume.image.reference ?? '');
  }
  const claim = volume.ephemeral as { volumeClaimTemplate?: { spec?: { volumeMode?: string } } } | undefined;
  if (claim?.volumeClaimTemplate?.spec !== undefined) claim.volumeClaimTemplate.spec.volumeMode ||= 'Filesystem';
}

function applyProjectionDefaults(source: VolumeProjection): void {
  if (source.serviceAccountToken !== undefined) source.serviceAccountToken.expirationSeconds ??= 3600;
  for (const file of source.downwardAPI?.items ?? []) applyFileDefaults(file);
}

function applyFileDefaults(file: DownwardAPIVolumeFile): void {
  if (file.fieldRef !== undefined) file.fieldRef.apiVersion ||= 'v1';
  if (file.resourceFieldRef !== undefined) file.resourceFieldRef.divisor ??= '0';
}

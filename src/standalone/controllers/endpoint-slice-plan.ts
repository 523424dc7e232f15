import { isDeepStrictEqual } from 'node:util';
import { parseIp } from '../../model/cidr.ts';
import { isConditionTrue } from '../../model/conditions.ts';
import type { Container, Pod } from '../../model/pod.ts';
import { matchesSet } from '../../model/selector.ts';
import type { Endpoint, EndpointPort, EndpointSlice, IPFamily, Service, ServicePort } from '../../model/service.ts';
import { parseTime, rfc3339 } from '../../model/time.ts';

export const SERVICE_NAME_LABEL = 'kubernetes.io/service-name';
export const MANAGED_BY_LABEL = 'endpointslice.kubernetes.io/managed-by';
/** The value by which slices are recognised as the controller's own. */
export const MANAGED_BY = 'endpointslice-controller.k8s.io';
const HEADLESS_LABEL = 'service.kubernetes.io/headless';
const TRIGGER_ANNOTATION = 'endpoints.kubernetes.io/last-change-trigger-time';
const MAX_ENDPOINTS = 100;

/** What must be written so that the slices say what the pods are. */
export interface SlicePlan {
  /** Without names: the writer chooses them. */
  readonly create: readonly EndpointSlice[];
  readonly update: readonly EndpointSlice[];
  readonly remove: readonly EndpointSlice[];
}

export interface SliceInput {
  readonly service: Service;
  /** Pods of the Service's namespace. */
  readonly pods: readonly Pod[];
  /** The Service's slices that this controller manages. */
  readonly slices: readonly EndpointSlice[];
  readonly zoneOf: (nodeName: string) => string | undefined;
}

/** True for a Service whose endpoints come from a selector. */
export function selectsPods(service: Service): boolean {
  return service.spec.type !== 'ExternalName' && Object.keys(service.spec.selector ?? {}).length > 0;
}

/** Everything of a pod that its endpoints show: while it stays the same, no Service need be looked at. */
export function endpointFacts(pod: Pod): unknown[] {
  return [
    pod.metadata.labels,
    pod.status?.podIPs ?? pod.status?.podIP,
    isConditionTrue(pod.status?.conditions, 'Ready'),
    pod.metadata.deletionTimestamp !== undefined,
    isOver(pod),
    pod.spec.nodeName,
  ];
}

/**
 * The pure part of the EndpointSlice controller (KEP-752, endpointslice reconciler): endpoints are grouped by address
 * family and by the ports their pods really have, and packed into slices of up to 100. An endpoint stays in its slice;
 * new ones fill the fullest slice with room; so one changed pod changes one slice.
 */
export function planSlices(input: SliceInput): SlicePlan {
  const { service, slices } = input;
  const plan = { create: [] as EndpointSlice[], update: [] as EndpointSlice[], remove: [] as EndpointSlice[] };
  const groups = selectsPods(service) ? groupEndpoints(input) : new Map<string, Group>();
  const byGroup = new Map<string, EndpointSlice[]>();
  for (const slice of slices) {
    const key = groupKey(slice.addressType, slice.ports ?? []);
    byGroup.set(key, [...(byGroup.get(key) ?? []), slice]);
  }
  for (const [key, group] of groups) packGroup(group, byGroup.get(key) ?? [], service, plan);
  for (const [key, left] of byGroup) if (!groups.has(key)) plan.remove.push(...left);
  return plan;
}

interface Group {
  readonly addressType: IPFamily;
  readonly ports: EndpointPort[];
  readonly endpoints: Map<string, Endpoint>;
  /** When the newest of its endpoints changed, milliseconds since the epoch. */
  changedAt: number;
}

function groupEndpoints({ service, pods, zoneOf }: SliceInput): Map<string, Group> {
  const groups = new Map<string, Group>();
  const families = service.spec.ipFamilies ?? ['IPv4'];
  for (const pod of pods) {
    if (isOver(pod) || !matchesSet(service.spec.selector ?? {}, pod.metadata.labels)) continue;
    const ports = portsOf(service, pod);
    for (const family of families) {
      const address = addressOf(pod, family);
      if (address === undefined) continue;
      const key = groupKey(family, ports);
      let group = groups.get(key);
      if (group === undefined) {
        group = { addressType: family, ports, endpoints: new Map(), changedAt: 0 };
        groups.set(key, group);
      }
      group.endpoints.set(podKey(pod.metadata.uid, pod.metadata.name), endpointOf(service, pod, address, zoneOf));
      group.changedAt = Math.max(group.changedAt, changeTimeOf(pod));
    }
  }
  // A Service without endpoints has one empty slice a family, so that "none" can be told from "not known yet".
  for (const family of families) {
    if ([...groups.values()].some(({ addressType }) => addressType === family)) continue;
    groups.set(groupKey(family, []), { addressType: family, ports: [], endpoints: new Map(), changedAt: 0 });
  }
  return groups;
}

function packGroup(
  group: Group,
  existing: readonly EndpointSlice[],
  service: Service,
  plan: { create: EndpointSlice[]; update: EndpointSlice[]; remove: EndpointSlice[] },
): void {
  const waiting = new Map(group.endpoints);
  const kept = existing.map((slice) => {
    const endpoints: Endpoint[] = [];
    for (const endpoint of slice.endpoints ?? []) {
      const key = podKey(endpoint.targetRef?.uid, endpoint.targetRef?.name);
      const wanted = waiting.get(key);
      if (wanted === undefined) continue;
      waiting.delete(key);
      endpoints.push(wanted);
    }
    return { slice, endpoints };
  });
  const added = [...waiting.values()];
  // The fullest first, so that few slices stay half empty.
  for (const one of [...kept].sort((left, right) => right.endpoints.length - left.endpoints.length)) {
    one.endpoints.push(...added.splice(0, MAX_ENDPOINTS - one.endpoints.length));
  }
  let slices = kept.filter(({ endpoints }) => endpoints.length > 0).length;
  while (added.length > 0) {
    plan.create.push(sliceOf(service, group, added.splice(0, MAX_ENDPOINTS)));
    slices++;
  }
  for (const { slice, endpoints } of kept) {
    if (endpoints.length === 0 && slices > 0) plan.remove.push(slice);
    else {
      slices++;
      const next = updated(slice, service, group, endpoints);
      if (next !== undefined) plan.update.push(next);
    }
  }
  if (slices === 0) plan.create.push(sliceOf(service, group, []));
}

function sliceOf(service: Service, group: Group, endpoints: Endpoint[]): EndpointSlice {
  const { name = '', namespace = '', uid = '' } = service.metadata;
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      generateName: `${name}-`,
      namespace,
      labels: labelsOf(service),
      annotations: triggerOf(service, group),
      ownerReferences: [{ apiVersion: 'v1', kind: 'Service', name, uid, controller: true, blockOwnerDeletion: true }],
    },
    addressType: group.addressType,
    endpoints,
    ports: group.ports,
  };
}

/** undefined when the slice is right as it is. */
function updated(
  slice: EndpointSlice,
  service: Service,
  group: Group,
  endpoints: Endpoint[],
): EndpointSlice | undefined {
  const labels = labelsOf(service);
  if (isDeepStrictEqual(slice.endpoints ?? [], endpoints) && isDeepStrictEqual(slice.metadata.labels, labels)) {
    return undefined;
  }
  const annotations = { ...slice.metadata.annotations, ...triggerOf(service, group) };
  return { ...slice, metadata: { ...slice.metadata, labels, annotations }, endpoints, ports: group.ports };
}

/** The Service's own labels come along, as in a real cluster. */
function labelsOf(service: Service): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const [key, value] of Object.entries(service.metadata.labels ?? {})) {
    if (key !== HEADLESS_LABEL && key !== SERVICE_NAME_LABEL && key !== MANAGED_BY_LABEL) labels[key] = value;
  }
  labels[SERVICE_NAME_LABEL] = service.metadata.name ?? '';
  labels[MANAGED_BY_LABEL] = MANAGED_BY;
  if (service.spec.clusterIP === 'None') labels[HEADLESS_LABEL] = '';
  return labels;
}

function triggerOf(service: Service, group: Group): Record<string, string> {
  const at = group.changedAt || parseTime(service.metadata.creationTimestamp);
  return at === undefined ? {} : { [TRIGGER_ANNOTATION]: rfc3339(at) };
}

function changeTimeOf(pod: Pod): number {
  const ready = pod.status?.conditions?.find(({ type }) => type === 'Ready');
  return Math.max(parseTime(ready?.lastTransitionTime) ?? 0, parseTime(pod.metadata.creationTimestamp) ?? 0);
}

function endpointOf(
  service: Service,
  pod: Pod,
  address: string,
  zoneOf: (nodeName: string) => string | undefined,
): Endpoint {
  const serving = isConditionTrue(pod.status?.conditions, 'Ready');
  const terminating = pod.metadata.deletionTimestamp !== undefined;
  const ready = service.spec.publishNotReadyAddresses === true || (serving && !terminating);
  const { name, namespace, uid } = pod.metadata;
  const zone = pod.spec.nodeName === undefined ? undefined : zoneOf(pod.spec.nodeName);
  const named = pod.spec.hostname !== undefined && pod.spec.subdomain === service.metadata.name;
  return {
    addresses: [address],
    conditions: { ready, serving, terminating },
    ...(named && pod.spec.hostname ? { hostname: pod.spec.hostname } : {}),
    targetRef: {
      kind: 'Pod',
      ...(namespace === undefined ? {} : { namespace }),
      ...(name === undefined ? {} : { name }),
      ...(uid === undefined ? {} : { uid }),
    },
    ...(pod.spec.nodeName ? { nodeName: pod.spec.nodeName } : {}),
    ...(zone === undefined ? {} : { zone }),
  };
}

/** The Service's ports as this pod has them; a named port that it does not have is left out. */
function portsOf(service: Service, pod: Pod): EndpointPort[] {
  const ports: EndpointPort[] = [];
  for (const servicePort of service.spec.ports ?? []) {
    const port = targetPortOf(servicePort, pod);
    if (port === undefined) continue;
    ports.push({
      name: servicePort.name ?? '',
      protocol: servicePort.protocol ?? 'TCP',
      port,
      ...(servicePort.appProtocol === undefined ? {} : { appProtocol: servicePort.appProtocol }),
    });
  }
  return ports;
}

function targetPortOf(servicePort: ServicePort, pod: Pod): number | undefined {
  const target = servicePort.targetPort ?? servicePort.port;
  if (typeof target === 'number') return target;
  const protocol = servicePort.protocol ?? 'TCP';
  const sidecars = (pod.spec.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always');
  for (const container of [...pod.spec.containers, ...sidecars]) {
    const found = namedPort(container, target, protocol);
    if (found !== undefined) return found;
  }
  return undefined;
}

function namedPort(container: Container, name: string, protocol: string): number | undefined {
  return container.ports?.find((port) => port.name === name && (port.protocol ?? 'TCP') === protocol)?.containerPort;
}

function addressOf(pod: Pod, family: IPFamily): string | undefined {
  const addresses = pod.status?.podIPs?.map(({ ip }) => ip) ?? (pod.status?.podIP ? [pod.status.podIP] : []);
  return addresses.find((address) => parseIp(address)?.family === family);
}

function isOver(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
}

function groupKey(addressType: string, ports: readonly EndpointPort[]): string {
  const texts = ports.map(({ name, protocol, port, appProtocol }) => [name, protocol, port, appProtocol].join('/'));
  return `${addressType} ${texts.sort().join(',')}`;
}

function podKey(uid: string | undefined, name: string | undefined): string {
  return `${uid ?? ''}/${name ?? ''}`;
}

import { binaryQuantity, canonicalQuantity, decimalQuantity } from '../../model/canonical-quantity.ts';
import {
  type Observations,
  resourceOf,
  type StarvedResource,
  type Threshold,
  thresholdAmount,
} from '../../model/eviction.ts';
import type { Container, Pod } from '../../model/pod.ts';
import { hasPodLevelResources } from '../../model/pod-resources.ts';
import { parseQuantity } from '../../model/quantity.ts';
import type { ContainerUsage, PodUsage } from './pod-usage.ts';

export interface EvictionText {
  readonly message: string;
  /** Of the event. */
  readonly annotations: Readonly<Record<string, string>>;
}

const NANO = 1_000_000_000n;

/** Why a pod is evicted for want of a resource, in kubelet's words (eviction/helpers.go evictionMessage). */
export function evictionMessage(
  resource: StarvedResource,
  pod: Pod,
  usage: PodUsage | undefined,
  thresholds: readonly Threshold[],
  observations: Observations,
): EvictionText {
  let message = `The node was low on resource: ${resource}. ${thresholdText(resource, thresholds, observations)}`;
  if (usage === undefined) return { message, annotations: {} };
  const annotations: Record<string, string> = {};
  const podRequest = hasPodLevelResources(pod) ? pod.spec.resources?.requests?.[resource] : undefined;
  if (resource === 'memory' && podRequest !== undefined && usage.memoryBytes !== undefined) {
    const used = binaryQuantity(usage.memoryBytes);
    const { name = '' } = pod.metadata;
    message += `Pod ${name} was using ${used}, request is ${canonicalQuantity(podRequest)}, has larger consumption of ${resource}. `;
    annotations['offending_pod'] = name;
    annotations['offending_pod_usage'] = used;
  }
  const offenders = offending(resource, pod, usage);
  for (const { name, used, request } of offenders) {
    message += `Container ${name} was using ${used}, request is ${request}, has larger consumption of ${resource}. `;
  }
  annotations['offending_containers'] = offenders.map(({ name }) => name).join(',');
  annotations['offending_containers_usage'] = offenders.map(({ used }) => used).join(',');
  annotations['starved_resource'] = resource;
  return { message, annotations };
}

function thresholdText(
  resource: StarvedResource,
  thresholds: readonly Threshold[],
  observations: Observations,
): string {
  for (const { signal, value } of thresholds) {
    const observed = observations[signal];
    if (resourceOf(signal) !== resource || observed === undefined) continue;
    const quantity =
      'amount' in value ? canonicalQuantity(value.text) : binaryQuantity(thresholdAmount(value, observed.capacity));
    const inBytes = resource === 'memory' || resource === 'ephemeral-storage';
    const available = inBytes ? binaryQuantity(observed.available) : decimalQuantity(observed.available);
    return `Threshold quantity: ${quantity}, available: ${available}. `;
  }
  return '';
}

/** Regular and init containers above their requests; ephemeral ones have none, and are not blamed. */
function offending(
  resource: StarvedResource,
  pod: Pod,
  usage: PodUsage,
): { readonly name: string; readonly used: string; readonly request: string }[] {
  const containers = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
  return usage.containers.flatMap((used) => {
    const container = containers.find(({ name }) => name === used.name);
    const amount = usedOf(resource, used);
    if (container === undefined || amount === undefined) return [];
    const request = requestOf(resource, container);
    if (BigInt(amount) * NANO <= parseQuantity(request)) return [];
    return [{ name: used.name, used: binaryQuantity(amount), request: canonicalQuantity(request) }];
  });
}

function requestOf(resource: StarvedResource, { resources }: Container): string | number {
  return resources?.requests?.[resource] ?? '0';
}

function usedOf(resource: StarvedResource, { memoryBytes, rootfs, logs }: ContainerUsage): number | undefined {
  if (resource === 'memory') return memoryBytes;
  if (resource !== 'ephemeral-storage' || rootfs === undefined || logs === undefined) return undefined;
  return rootfs.usedBytes + logs.usedBytes;
}

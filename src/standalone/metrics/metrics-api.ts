import type { KubeObject } from '../../model/meta.ts';
import { type ResourceType, resources } from '../../model/resource.ts';
import { rfc3339 } from '../../model/time.ts';
import { parseFilter } from '../http/field-values.ts';
import { noSuchResource, notFound } from '../http/status-error.ts';
import type { Store } from '../port.ts';

/** What something used on average over a while. */
export interface MeasuredUse {
  /** Milliseconds since the epoch, at the end of the while. */
  readonly atMs: number;
  readonly windowMs: number;
  /** Billionths of a CPU. */
  readonly nanoCores: number;
  readonly memoryBytes: number;
}

export interface MeasuredPod {
  readonly namespace: string;
  readonly name: string;
  readonly atMs: number;
  readonly windowMs: number;
  readonly containers: readonly (Pick<MeasuredUse, 'nanoCores' | 'memoryBytes'> & { readonly name: string })[];
}

/** Measures the node that the API is served for, and its pods. */
export type MeasureUse = () => Promise<{
  readonly node: MeasuredUse | undefined;
  readonly pods: readonly MeasuredPod[];
}>;

export const METRICS_GROUP = 'metrics.k8s.io';
export const METRICS_VERSION = 'v1beta1';
const API_VERSION = `${METRICS_GROUP}/${METRICS_VERSION}`;

/** As metrics-server shows them in discovery. */
export const metricsResources = [
  { name: 'nodes', singularName: '', namespaced: false, kind: 'NodeMetrics', verbs: ['get', 'list'] },
  { name: 'pods', singularName: '', namespaced: true, kind: 'PodMetrics', verbs: ['get', 'list'] },
] as const;

/** What of metrics.k8s.io a path addresses. */
export interface MetricsTarget {
  readonly type: ResourceType;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
}

/** undefined: the path is none of these. Throws 404 for what the group does not have. */
export function parseMetricsPath(path: string): MetricsTarget | undefined {
  const prefix = `/apis/${API_VERSION}/`;
  if (!path.startsWith(prefix)) return undefined;
  const parts = path.slice(prefix.length).split('/').map(decodeURIComponent);
  const [first, second, third, fourth] = parts;
  if (first === 'nodes' && parts.length <= 2) return { type: resources.nodes, namespace: undefined, name: second };
  if (first === 'pods' && parts.length === 1) return { type: resources.pods, namespace: undefined, name: undefined };
  if (first === 'namespaces' && third === 'pods' && parts.length <= 4) {
    return { type: resources.pods, namespace: second, name: fourth };
  }
  throw noSuchResource();
}

/** NodeMetrics and PodMetrics, one or a list of them (metrics.k8s.io/v1beta1): what kubectl top asks for. */
export async function metricsAnswer(
  { type, namespace, name }: MetricsTarget,
  query: URLSearchParams,
  deps: { readonly store: Pick<Store, 'get' | 'list'>; readonly nodeName: string; readonly measure: MeasureUse },
): Promise<object> {
  const { store, measure, nodeName } = deps;
  const { node, pods } = await measure();
  const isNode = type.plural === resources.nodes.plural;
  const known = new Map(pods.map((pod) => [`${pod.namespace}/${pod.name}`, pod]));
  const metricsOf = (object: KubeObject): object | undefined => {
    const { metadata } = object;
    if (isNode) return metadata.name === nodeName && node !== undefined ? nodeMetrics(object, node) : undefined;
    const pod = known.get(`${metadata.namespace}/${metadata.name}`);
    return pod === undefined ? undefined : podMetrics(object, pod);
  };
  if (name !== undefined) {
    const object = store.get(type, namespace, name);
    const metrics = object === undefined ? undefined : metricsOf(object);
    if (metrics === undefined) throw notFound({ ...type, group: METRICS_GROUP }, name);
    return { ...head(isNode ? 'NodeMetrics' : 'PodMetrics'), ...metrics };
  }
  const labelSelector = query.get('labelSelector') ?? '';
  const { matches } = parseFilter(type, { labelSelector, fieldSelector: query.get('fieldSelector') ?? '' });
  const items = store
    .list(type, namespace)
    .filter((object) => matches?.(object) ?? true)
    .flatMap((object) => metricsOf(object) ?? []);
  return { ...head(isNode ? 'NodeMetricsList' : 'PodMetricsList'), metadata: {}, items };
}

function head(kind: string): object {
  return { kind, apiVersion: API_VERSION };
}

function nodeMetrics({ metadata }: KubeObject, use: MeasuredUse): object {
  const { name, labels } = metadata;
  return { metadata: { name, ...time(use), ...(labels && { labels }) }, ...measuredAt(use), usage: usage(use) };
}

function podMetrics({ metadata }: KubeObject, pod: MeasuredPod): object {
  const { name, namespace, labels } = metadata;
  return {
    metadata: { name, namespace, ...time(pod), ...(labels && { labels }) },
    ...measuredAt(pod),
    containers: pod.containers.map((container) => ({ name: container.name, usage: usage(container) })),
  };
}

function time({ atMs }: { readonly atMs: number }): object {
  return { creationTimestamp: rfc3339(atMs) };
}

function measuredAt({ atMs, windowMs }: { readonly atMs: number; readonly windowMs: number }): object {
  return { timestamp: rfc3339(atMs), window: `${(windowMs / 1000).toFixed(3)}s` };
}

function usage({ nanoCores, memoryBytes }: Pick<MeasuredUse, 'nanoCores' | 'memoryBytes'>): object {
  return { cpu: `${Math.max(0, nanoCores)}n`, memory: `${Math.floor(memoryBytes / 1024)}Ki` };
}

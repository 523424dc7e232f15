import type { Node, Taint } from '../../model/node.ts';
import type { Pod, PodSpec, Toleration } from '../../model/pod.ts';
import { podRequests } from '../../model/pod-resources.ts';
import { parseQuantity } from '../../model/quantity.ts';
import { matches, matchesSet, type Requirement } from '../../model/selector.ts';

/**
 * Why a pod cannot run on the one node, in kube-scheduler's words; undefined when it can. Taints that the node's own
 * health sets are passed over: with one node there is nowhere else to wait for.
 */
export function placementProblem(pod: Pod, node: Node, others: readonly Pod[]): string | undefined {
  const { spec } = pod;
  if (node.spec?.unschedulable === true && !tolerates(spec, UNSCHEDULABLE)) return 'node(s) were unschedulable';
  const taint = (node.spec?.taints ?? []).find(
    (candidate) =>
      candidate.effect !== 'PreferNoSchedule' && !HEALTH.includes(candidate.key) && !tolerates(spec, candidate),
  );
  if (taint !== undefined) return `node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`;
  if (!selectsNode(spec, node)) return "node(s) didn't match Pod's node affinity/selector";
  return hostPortProblem(spec, others) ?? resourceProblem(pod, node, others);
}

const HEALTH: readonly string[] = [
  'node.kubernetes.io/not-ready',
  'node.kubernetes.io/unreachable',
  'node.kubernetes.io/unschedulable',
];
const UNSCHEDULABLE: Taint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' };

function tolerates(spec: PodSpec, taint: Taint): boolean {
  return (spec.tolerations ?? []).some((toleration) => toleratesTaint(toleration, taint));
}

function toleratesTaint(toleration: Toleration, taint: Taint): boolean {
  if (toleration.effect && toleration.effect !== taint.effect) return false;
  if (toleration.key && toleration.key !== taint.key) return false;
  if (toleration.operator === 'Exists') return true;
  return Boolean(toleration.key) && (toleration.value ?? '') === (taint.value ?? '');
}

interface NodeTerm {
  matchExpressions?: Requirement[];
  matchFields?: Requirement[];
}

function selectsNode(spec: PodSpec, node: Node): boolean {
  const { labels } = node.metadata;
  if (!matchesSet(spec.nodeSelector ?? {}, labels)) return false;
  const affinity = spec.affinity as
    | { nodeAffinity?: { requiredDuringSchedulingIgnoredDuringExecution?: { nodeSelectorTerms?: NodeTerm[] } } }
    | undefined;
  const required = affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  if (required === undefined) return true;
  // Terms are alternatives; an empty one matches nothing.
  return (required.nodeSelectorTerms ?? []).some((term) => {
    const expressions = withValues(term.matchExpressions);
    const fields = withValues(term.matchFields);
    if (expressions.length + fields.length === 0) return false;
    return matches(expressions, labels) && matches(fields, { 'metadata.name': node.metadata.name ?? '' });
  });
}

function withValues(requirements: readonly Requirement[] | undefined): Requirement[] {
  return (requirements ?? []).map((requirement) => ({ ...requirement, values: requirement.values ?? [] }));
}

function hostPortProblem(spec: PodSpec, others: readonly Pod[]): string | undefined {
  const wanted = hostPorts(spec);
  if (wanted.length === 0) return undefined;
  const taken = others.flatMap((pod) => hostPorts(pod.spec));
  const clash = wanted.some((one) =>
    taken.some(
      (other) =>
        one.protocol === other.protocol &&
        one.port === other.port &&
        (one.ip === other.ip || one.ip === ANY || other.ip === ANY),
    ),
  );
  return clash ? "node(s) didn't have free ports for the requested pod ports" : undefined;
}

const ANY = '0.0.0.0';

function hostPorts(spec: PodSpec): { protocol: string; port: number; ip: string }[] {
  return spec.containers.flatMap((container) =>
    (container.ports ?? []).flatMap(({ hostPort, hostIP, protocol }) =>
      hostPort ? [{ protocol: protocol ?? 'TCP', port: hostPort, ip: hostIP || ANY }] : [],
    ),
  );
}

function resourceProblem(pod: Pod, node: Node, others: readonly Pod[]): string | undefined {
  const allocatable = node.status?.allocatable;
  if (allocatable === undefined) return undefined;
  const most = allocatable['pods'];
  if (most !== undefined && others.length + 1 > Number(most)) return 'Too many pods';
  const used: Record<string, bigint> = {};
  for (const other of others) {
    for (const [name, amount] of Object.entries(podRequests(other))) used[name] = (used[name] ?? 0n) + amount;
  }
  for (const [name, amount] of Object.entries(podRequests(pod))) {
    if (amount === 0n) continue;
    if ((used[name] ?? 0n) + amount > parseQuantity(allocatable[name] ?? '0')) return `Insufficient ${name}`;
  }
  return undefined;
}

/** Pods that take room on the node: bound to it and not at their end. */
export function occupies(pod: Pod, nodeName: string): boolean {
  return pod.spec.nodeName === nodeName && pod.status?.phase !== 'Succeeded' && pod.status?.phase !== 'Failed';
}

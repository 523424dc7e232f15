import type { Node, Taint } from '../../model/node.ts';
import type { Pod } from '../../model/pod.ts';
import { qosClassOf } from '../../model/qos.ts';
import { isStaticPod } from '../../model/static-pod.ts';
import { forbiddenSysctl } from '../security/sysctls.ts';
import { appArmorError } from './app-armor.ts';
import { chooseVictims } from './choose-victims.ts';
import { isCriticalPod } from './critical-pod.ts';
import { hasPortConflict } from './host-ports.ts';
import { neededFeatures } from './needed-features.ts';
import { matchesNode } from './node-affinity.ts';
import { type Shortage, shortages } from './node-resources.ts';
import { hasUntoleratedNoExecute, tolerates } from './taints.ts';

export interface Refusal {
  /** The status reason, in kubelet's words. */
  readonly reason: string;
  readonly message: string;
  /** Only the node's labels speak against the pod: with a Node read anew it may be taken. */
  readonly labelsOnly?: true;
}

/** `victims` have to be gone before the pod starts; `short` is the first resource that they give back. */
export interface Admission {
  readonly victims: readonly Pod[];
  readonly short: string;
}

export interface AdmissionFacts {
  readonly node: Node;
  /** MemoryPressure, DiskPressure, PIDPressure: those that are true. */
  readonly pressure: readonly string[];
  /** KubeletConfiguration allowedUnsafeSysctls. */
  readonly allowedUnsafeSysctls: readonly string[];
  /** As uname -r. */
  readonly kernelVersion: string;
  readonly appArmorEnabled: boolean;
  /** The machine is going down (graceful node shutdown). */
  readonly shuttingDown?: boolean;
}

interface Failure {
  readonly name: string;
  readonly text: string;
}

const MEMORY_PRESSURE: Taint = { key: 'node.kubernetes.io/memory-pressure', effect: 'NoSchedule' };

/**
 * Whether this node runs a pod beside `others`, the pods that it has admitted and that are not over: kubelet's admit
 * handlers with their reasons and texts, in their order (kubelet.go; lifecycle/predicate.go, lifecycle/handlers.go).
 * A critical pod that lacks nothing but resources is admitted at the cost of others; they are named only when nothing
 * else speaks against it, so that no pod dies for one that is refused all the same.
 */
export function admitPod(pod: Pod, others: readonly Pod[], facts: AdmissionFacts): Admission | Refusal {
  const early = underPressure(pod, facts) ?? sysctlRefusal(pod, facts) ?? unfitForNode(pod, facts.node);
  if (early !== undefined) return early;
  const short = shortages(pod, others, facts.node.status?.allocatable ?? {});
  const failures = placeFailures(pod, others, facts.node);
  const critical = isCriticalPod(pod);
  const placed = (critical ? undefined : shortageRefusal(short[0])) ?? failureRefusal(failures, short);
  if (placed !== undefined) return placed;
  const victims = short.length === 0 ? [] : chooseVictims(pod, others, short);
  if ('impossible' in victims) {
    const why = `preemption: error finding a set of pods to preempt: ${victims.impossible}`;
    return {
      reason: 'UnexpectedAdmissionError',
      message: `Unexpected error while attempting to recover from admission failure: ${why}`,
    };
  }
  return lateRefusal(pod, facts) ?? { victims, short: short[0]?.resource ?? '' };
}

/** Eviction's word: under memory pressure no BestEffort pod, under any other pressure none but critical ones. */
function underPressure(pod: Pod, { pressure }: AdmissionFacts): Refusal | undefined {
  if (pressure.length === 0 || isCriticalPod(pod)) return undefined;
  if (pressure.length === 1 && pressure[0] === 'MemoryPressure') {
    if (qosClassOf(pod) !== 'BestEffort' || tolerates(pod, MEMORY_PRESSURE)) return undefined;
  }
  return { reason: 'Evicted', message: `The node had condition: [${pressure.join(' ')}]. ` };
}

function sysctlRefusal(pod: Pod, { allowedUnsafeSysctls, kernelVersion }: AdmissionFacts): Refusal | undefined {
  const message = forbiddenSysctl(pod, allowedUnsafeSysctls, kernelVersion);
  return message === undefined ? undefined : { reason: 'SysctlForbidden', message };
}

/** What no preemption helps against. */
function unfitForNode(pod: Pod, node: Node): Refusal | undefined {
  // The pod's own label, not its node selector (kubelet has it so since 1.18).
  const labelled = pod.metadata.labels?.['kubernetes.io/os'];
  if (labelled !== undefined && labelled !== 'linux') {
    return {
      reason: 'PodOSSelectorNodeLabelDoesNotMatch',
      message: "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
    };
  }
  if (pod.spec.os !== undefined && pod.spec.os.name !== 'linux') {
    return { reason: 'PodOSNotSupported', message: "Failed to admit pod as the OS field doesn't match node OS" };
  }
  const strict = pod.spec.securityContext?.supplementalGroupsPolicy === 'Strict';
  if (strict && node.status?.features?.supplementalGroupsPolicy !== true) {
    return {
      reason: 'SupplementalGroupsPolicyNotSupported',
      message: 'SupplementalGroupsPolicy=Strict is not supported in this node',
    };
  }
  return undefined;
}

function placeFailures(pod: Pod, others: readonly Pod[], node: Node): Failure[] {
  const failures: Failure[] = [];
  const fail = (name: string, text: string): void => void failures.push({ name, text });
  if (!matchesNode(pod, node)) fail('NodeAffinity', "node(s) didn't match Pod's node affinity/selector");
  const { nodeName = '' } = pod.spec;
  if (nodeName !== '' && nodeName !== node.metadata.name) {
    fail('NodeName', "node(s) didn't match the requested node name");
  }
  if (hasPortConflict(pod, others)) fail('NodePorts', "node(s) didn't have free ports for the requested pod ports");
  if (!isStaticPod(pod) && hasUntoleratedNoExecute(pod, node.spec?.taints ?? [])) {
    fail('TaintToleration', "node(s) had taints that the pod didn't tolerate");
  }
  return failures;
}

function shortageRefusal(short: Shortage | undefined): Refusal | undefined {
  if (short === undefined) return undefined;
  const { resource, requested, used, capacity } = short;
  const amounts = `requested: ${requested}, used: ${used}, capacity: ${capacity}`;
  return { reason: `OutOf${resource}`, message: `Node didn't have enough resource: ${resource}, ${amounts}` };
}

function failureRefusal(failures: readonly Failure[], short: readonly Shortage[]): Refusal | undefined {
  const [first] = failures;
  if (first === undefined) return undefined;
  const labelsOnly = short.length === 0 && failures.every(({ name }) => name === 'NodeAffinity');
  return {
    reason: first.name,
    message: `Predicate ${first.name} failed: ${first.text}`,
    ...(labelsOnly ? { labelsOnly } : {}),
  };
}

function lateRefusal(pod: Pod, facts: AdmissionFacts): Refusal | undefined {
  const phase = pod.status?.phase ?? 'Pending';
  const appArmor = phase === 'Pending' ? appArmorError(pod, facts.appArmorEnabled) : undefined;
  if (appArmor !== undefined) return { reason: 'AppArmor', message: `Cannot enforce AppArmor: ${appArmor}` };
  const declared = facts.node.status?.declaredFeatures ?? [];
  const missing = neededFeatures(pod).filter((feature) => !declared.includes(feature));
  if (missing.length > 0) {
    return {
      reason: 'PodFeatureUnsupported',
      message: `Pod requires node features that are not available: ${missing.join(', ')}`,
    };
  }
  if (facts.shuttingDown === true) {
    return { reason: 'NodeShutdown', message: 'Pod was rejected as the node is shutting down.' };
  }
  return undefined;
}

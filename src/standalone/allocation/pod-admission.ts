import type { Clock } from '../../kit/clock.ts';
import { withCondition } from '../../model/conditions.ts';
import type { Node } from '../../model/node.ts';
import type { PriorityClass, ServiceAccount } from '../../model/objects.ts';
import type { Container, Pod, PodCondition, PodSpec, Toleration } from '../../model/pod.ts';
import { qosClassOf } from '../../model/qos.ts';
import { resources } from '../../model/resource.ts';
import { isMirrorPod } from '../../model/static-pod.ts';
import { rfc3339 } from '../../model/time.ts';
import type { Store } from '../port.ts';
import { SYSTEM_CLASSES } from '../validation/cluster-objects.ts';
import { forbidden } from '../validation/field-errors.ts';
import { invalidObject } from './invalid-object.ts';
import { occupies, placementProblem } from './place-pod.ts';
import { refused } from './refused.ts';
import { addRuntimeClass } from './runtime-class-admission.ts';

export interface PodAdmissionOptions {
  /** The one node, which pods without a nodeName are bound to. */
  readonly nodeName: string;
  /** Mount a token of the pod's ServiceAccount into its containers, unless pod or account say no. */
  readonly mountServiceAccountTokens: boolean;
}

export interface PodAdmissionDeps {
  readonly store: Pick<Store, 'get' | 'list'>;
  readonly clock: Clock;
  readonly random: () => number;
}

const TOKEN_PATH = '/var/run/secrets/kubernetes.io/serviceaccount';
/** The token's life; the minute more keeps clients from renewing in step with the hour (serviceaccount admission). */
const TOKEN_SECONDS = 3607;
const NAME_LETTERS = 'bcdfghjklmnpqrstvwxz2456789';

/**
 * What admission plugins, the registry's strategy and the scheduler do to a pod in a real cluster: priority, default
 * tolerations, the ServiceAccount's token, first status, binding to the node.
 */
export class PodAdmission {
  private readonly options: PodAdmissionOptions;
  private readonly deps: PodAdmissionDeps;

  constructor(options: PodAdmissionOptions, deps: PodAdmissionDeps) {
    this.options = options;
    this.deps = deps;
  }

  /** Throws Forbidden. Returns a copy. */
  create(pod: Pod): Pod {
    const spec: PodSpec & { serviceAccount?: string } = { ...pod.spec };
    this.addPriority(pod, spec);
    addDefaultTolerations(spec);
    addRuntimeClass(pod, spec, (name) => this.deps.store.get(resources.runtimeclasses, undefined, name));
    this.addServiceAccount(pod, spec);
    return this.bind({ ...pod, spec, status: { phase: 'Pending', qosClass: qosClassOf(pod), ...pod.status } });
  }

  /** A pod without a node gets it, or the condition that says why not. The same object when nothing changes. */
  bind(pod: Pod): Pod {
    const { spec } = pod;
    const now = rfc3339(this.deps.clock.now());
    if ((spec.schedulingGates?.length ?? 0) > 0) {
      const message = `Scheduling is blocked due to non-empty scheduling gates`;
      return withScheduled(pod, { type: 'PodScheduled', status: 'False', reason: 'SchedulingGated', message }, now);
    }
    if (spec.nodeName) {
      const known = pod.status?.conditions?.some(({ type, status }) => type === 'PodScheduled' && status === 'True');
      return known ? pod : withScheduled(pod, { type: 'PodScheduled', status: 'True' }, now);
    }
    // Somebody else's scheduler will bind it.
    if (spec.schedulerName !== undefined && spec.schedulerName !== 'default-scheduler') return pod;
    const problem = this.problem(pod);
    if (problem !== undefined) {
      const message = `0/1 nodes are available: 1 ${problem}.`;
      return withScheduled(pod, { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message }, now);
    }
    const bound = { ...pod, spec: { ...spec, nodeName: this.options.nodeName } };
    return withScheduled(bound, { type: 'PodScheduled', status: 'True' }, now);
  }

  private problem(pod: Pod): string | undefined {
    const node = this.deps.store.get(resources.nodes, undefined, this.options.nodeName) as Node | undefined;
    // Before the node has registered itself its room is not known; the node will judge.
    if (node === undefined) return undefined;
    const { uid } = pod.metadata;
    const others = (this.deps.store.list(resources.pods) as Pod[]).filter(
      (other) => occupies(other, this.options.nodeName) && (uid === undefined || other.metadata.uid !== uid),
    );
    return placementProblem(pod, node, others);
  }

  private addPriority(pod: Pod, spec: PodSpec): void {
    const cls = this.priorityClass(pod, spec);
    const value = cls?.value ?? 0;
    if (spec.priority !== undefined && spec.priority !== value) {
      const detail = `the integer value of priority (${spec.priority}) must not be provided in pod spec; priority admission controller computed ${value} from the given PriorityClass name`;
      throw invalidObject(resources.pods, pod, [forbidden('spec.priority', detail)]);
    }
    spec.priority = value;
    if (cls?.metadata.name !== undefined) spec.priorityClassName = cls.metadata.name;
    spec.preemptionPolicy ??= cls?.preemptionPolicy ?? 'PreemptLowerPriority';
  }

  private priorityClass(pod: Pod, spec: PodSpec): PriorityClass | undefined {
    const name = spec.priorityClassName;
    if (name) {
      const found = this.deps.store.get(resources.priorityclasses, undefined, name) as PriorityClass | undefined;
      if (found !== undefined) return found;
      const value = SYSTEM_CLASSES.get(name);
      if (value !== undefined) return { metadata: { name }, value };
      throw refused(resources.pods, pod, `no PriorityClass with name ${name} was found`);
    }
    let best: PriorityClass | undefined;
    for (const cls of this.deps.store.list(resources.priorityclasses) as PriorityClass[]) {
      // Of several global defaults the lowest counts.
      if (cls.globalDefault === true && (best === undefined || cls.value < best.value)) best = cls;
    }
    return best;
  }

  private addServiceAccount(pod: Pod, spec: PodSpec & { serviceAccount?: string }): void {
    // A mirror pod shows what a node runs without the API (plugin/pkg/admission/serviceaccount).
    if (isMirrorPod(pod)) {
      if (!spec.serviceAccountName) return;
      throw refused(resources.pods, pod, 'a mirror pod may not reference service accounts');
    }
    const name = spec.serviceAccountName || 'default';
    spec.serviceAccountName = name;
    spec.serviceAccount = name;
    const namespace = pod.metadata.namespace;
    const account = this.deps.store.get(resources.serviceaccounts, namespace, name) as ServiceAccount | undefined;
    // Each namespace has "default", if perhaps a moment later than the namespace.
    if (account === undefined && name !== 'default') {
      const problem = `error looking up service account ${namespace}/${name}: serviceaccount "${name}" not found`;
      throw refused(resources.pods, pod, problem);
    }
    if ((spec.imagePullSecrets?.length ?? 0) === 0 && (account?.imagePullSecrets?.length ?? 0) > 0) {
      spec.imagePullSecrets = [...(account?.imagePullSecrets ?? [])];
    }
    const wanted = spec.automountServiceAccountToken ?? account?.automountServiceAccountToken ?? true;
    if (wanted && this.options.mountServiceAccountTokens) this.mountToken(spec);
  }

  private mountToken(spec: PodSpec): void {
    const name = `kube-api-access-${this.suffix()}`;
    let used = false;
    const mount = (container: Container): Container => {
      if (container.volumeMounts?.some(({ mountPath }) => mountPath === TOKEN_PATH) === true) return container;
      used = true;
      const volumeMounts = [...(container.volumeMounts ?? []), { name, readOnly: true, mountPath: TOKEN_PATH }];
      return { ...container, volumeMounts };
    };
    spec.containers = spec.containers.map(mount);
    if (spec.initContainers !== undefined) spec.initContainers = spec.initContainers.map(mount);
    if (!used) return;
    const namespaceFile = { path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } };
    const sources = [
      { serviceAccountToken: { expirationSeconds: TOKEN_SECONDS, path: 'token' } },
      { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
      { downwardAPI: { items: [namespaceFile] } },
    ];
    spec.volumes = [...(spec.volumes ?? []), { name, projected: { sources, defaultMode: 0o644 } }];
  }

  private suffix(): string {
    let text = '';
    for (let count = 0; count < 5; count++) text += NAME_LETTERS[Math.floor(this.deps.random() * NAME_LETTERS.length)];
    return text;
  }
}

/** Five minutes on a node that is not ready or not reachable (DefaultTolerationSeconds). */
function addDefaultTolerations(spec: PodSpec): void {
  const tolerations = spec.tolerations ?? [];
  const missing: Toleration[] = [];
  for (const key of ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable']) {
    const covered = tolerations.some(
      (toleration) =>
        (!toleration.key || toleration.key === key) && (!toleration.effect || toleration.effect === 'NoExecute'),
    );
    if (!covered) missing.push({ key, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 });
  }
  if (missing.length > 0) spec.tolerations = [...tolerations, ...missing];
}

function withScheduled(pod: Pod, condition: PodCondition, now: string): Pod {
  const old = pod.status?.conditions?.find(({ type }) => type === condition.type);
  if (old?.status === condition.status && old.reason === condition.reason && old.message === condition.message)
    return pod;
  const conditions = withCondition(
    pod.status?.conditions as (PodCondition & { lastProbeTime?: string })[],
    condition as PodCondition & { lastProbeTime?: string },
    now,
  );
  return { ...pod, status: { ...pod.status, conditions } };
}

import type { ApiClient } from '../../cluster/port.ts';
import { CodedError, messageOf } from '../../kit/errors.ts';
import type { KubeObject } from '../../model/meta.ts';
import type { Node } from '../../model/node.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../model/objects.ts';
import type { Pod, Volume } from '../../model/pod.ts';
import { type ResourceType, resources } from '../../model/resource.ts';
import { matchesSelectorTerms } from '../admit/node-affinity.ts';
import type { BoundClaim } from './plugin.ts';

/** A claim that is being deleted is kept for the pods that use it as long as this is on it. */
const PROTECTION = 'kubernetes.io/pvc-protection';

export interface ClaimResolverDeps {
  /** The Node authorizer lets a node `get` the claims of its pods and their volumes, not list or watch them. */
  readonly api: Pick<ApiClient, 'get'>;
  readonly node: () => Node | undefined;
}

/** From a pod's claim to its PersistentVolume, with kubelet's checks and words (desired_state_of_world_populator.go). */
export class ClaimResolver {
  private readonly deps: ClaimResolverDeps;

  constructor(deps: ClaimResolverDeps) {
    this.deps = deps;
  }

  /** Throws CodedError: Unavailable while it is not bound or not known, Forbidden for another pod's ephemeral claim. */
  async resolve(pod: Pod, claimName: string, isEphemeral: boolean, signal?: AbortSignal): Promise<BoundClaim> {
    const namespace = pod.metadata.namespace ?? '';
    const words = `error processing PVC ${namespace}/${claimName}`;
    const about = { claim: claimName, namespace };
    const claim = await this.get<PersistentVolumeClaim>(
      resources.persistentvolumeclaims,
      { namespace, name: claimName },
      `${words}: failed to fetch PVC from API server`,
      signal,
    );
    const refuse = (why: string): CodedError => new CodedError('Unavailable', `${words}: ${why}`, about);
    const { deletionTimestamp, finalizers = [] } = claim.metadata;
    if (deletionTimestamp !== undefined && !finalizers.includes(PROTECTION)) throw refuse('PVC is being deleted');
    if (claim.status?.phase !== 'Bound') throw refuse('PVC is not bound');
    const volumeName = claim.spec?.volumeName ?? '';
    if (volumeName === '') throw refuse('PVC has empty pvc.Spec.VolumeName');
    if (isEphemeral && !isMadeFor(pod, claim)) {
      const whose = `was not created for pod ${namespace}/${pod.metadata.name} (pod is not owner)`;
      throw new CodedError('Forbidden', `PVC ${namespace}/${claimName} ${whose}`, about);
    }
    const volume = await this.get<PersistentVolume>(
      resources.persistentvolumes,
      { name: volumeName },
      `${words}: failed to fetch PV ${volumeName} from API server`,
      signal,
    );
    const found = `found PV object ${volumeName} but`;
    const reference = volume.spec?.claimRef;
    if (reference === undefined) {
      throw refuse(`${found} it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim`);
    }
    if (reference.uid !== claim.metadata.uid) {
      const uids = `its pv.Spec.ClaimRef.UID ${reference.uid ?? ''} does not point to claim.UID ${claim.metadata.uid ?? ''}`;
      throw refuse(`${found} ${uids}`);
    }
    return { claim, volume };
  }

  /** Throws Conflict where the volume may not be used on this node. */
  checkNode({ spec, metadata }: PersistentVolume): void {
    const terms = spec?.nodeAffinity?.required?.nodeSelectorTerms;
    if (terms === undefined) return;
    const node = this.deps.node();
    if (node === undefined) throw new CodedError('Unavailable', 'labels of this node are not known yet');
    // Only the labels count: a volume cannot be tied to a node's name by field (component-helpers CheckNodeAffinity).
    if (matchesSelectorTerms(terms, { ...node, metadata: { ...node.metadata, name: '' } })) return;
    throw new CodedError('Conflict', 'no matching NodeSelectorTerms', { volume: metadata.name });
  }

  private async get<T extends KubeObject>(
    type: ResourceType,
    target: { namespace?: string; name: string },
    words: string,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    try {
      return await this.deps.api.get<T>(type, target, signal);
    } catch (error) {
      const said = error instanceof CodedError ? error.metadata['said'] : undefined;
      throw new CodedError('Unavailable', `${words}: ${said ?? messageOf(error)}`, target, error);
    }
  }
}

/** The name of the claim behind a generic ephemeral volume (component-helpers storage/ephemeral). */
export function ephemeralClaimName(pod: Pod, volume: Pick<Volume, 'name'>): string {
  return `${pod.metadata.name ?? ''}-${volume.name}`;
}

function isMadeFor({ metadata }: Pod, claim: PersistentVolumeClaim): boolean {
  const owner = claim.metadata.ownerReferences?.find(({ controller }) => controller === true);
  return owner?.uid === metadata.uid && claim.metadata.namespace === metadata.namespace;
}

import type { ApiClient, EventRecorder } from '../../../cluster/port.ts';
import type { CsiNode } from '../../../host/csi/port.ts';
import type { Clock } from '../../../kit/clock.ts';
import { CodedError, messageOf } from '../../../kit/errors.ts';
import type { ObjectReference } from '../../../model/meta.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../../model/objects.ts';
import { wholeValueOf } from '../../../model/quantity.ts';
import { resources } from '../../../model/resource.ts';
import { rfc3339 } from '../../../model/time.ts';
import { containerReference } from '../../act/references.ts';
import { rpcErrorText } from '../../step-error.ts';
import type { BoundClaim, PodVolume } from '../plugin.ts';
import { secretValues } from './csi-context.ts';
import { uniqueVolumeName } from './csi-paths.ts';
import { type CsiSource, csiCapability, isFinal } from './csi-source.ts';
import { expansionOf, failed, finished, inProgress } from './expansion-plan.ts';

export interface CsiExpansionDeps {
  readonly api: Pick<ApiClient, 'get' | 'patch'>;
  readonly events: EventRecorder;
  readonly clock: Clock;
}

export interface ExpansionTarget {
  readonly volume: PodVolume;
  readonly source: CsiSource;
  readonly client: CsiNode;
  /** Where the volume is: its publication, or its staging path before there is one. */
  readonly path: string;
  readonly stagingPath: string | undefined;
}

type Capabilities = Awaited<ReturnType<CsiNode['capabilities']>>;

const IN_USE = 9;
/** InvalidArgument, NotFound, OutOfRange: the driver says that it can never be (isInfeasibleError). */
const INFEASIBLE: ReadonlySet<unknown> = new Set([3, 5, 11]);

/** Has drivers grow volumes on this node once they have been made larger, and writes so to the claims. */
export class CsiExpansion {
  private readonly deps: CsiExpansionDeps;
  /** By unique volume name: the size that it has here. */
  private readonly sizes = new Map<string, string>();
  /** Volumes whose driver does not grow them while they are in use, with the size that was asked for. */
  private readonly refused = new Map<string, string>();

  constructor(deps: CsiExpansionDeps) {
    this.deps = deps;
  }

  /** Looks at claim and volume anew, and has the volume grown where they say so. */
  async check(target: ExpansionTarget, able: Capabilities): Promise<void> {
    const { bound } = target.volume;
    if (bound === undefined || target.source.readOnly) return;
    await this.grow(target, await this.read(bound), able);
  }

  /** The same with what is known of them already. */
  async atMount(target: ExpansionTarget, able: Capabilities): Promise<void> {
    const { bound, readOnly, specName } = target.volume;
    if (bound === undefined) return;
    if (readOnly && expansionOf(bound.claim, bound.volume, undefined) !== undefined) {
      const why = 'requested read-only file system';
      const message = `MountVolume.NodeExpandVolume failed for volume "${specName}" ${why}`;
      this.event(target, bound.claim, 'Warning', 'FileSystemResizeFailed', message, true);
    }
    if (target.source.readOnly) return;
    await this.grow(target, bound, able);
  }

  forget(volume: string): void {
    this.sizes.delete(volume);
    this.refused.delete(volume);
  }

  private async read({ claim, volume }: BoundClaim): Promise<BoundClaim> {
    const { api } = this.deps;
    const { name = '', namespace = '' } = claim.metadata;
    const [newClaim, newVolume] = await Promise.all([
      api.get<PersistentVolumeClaim>(resources.persistentvolumeclaims, { namespace, name }),
      api.get<PersistentVolume>(resources.persistentvolumes, { name: volume.metadata.name ?? '' }),
    ]);
    return newClaim.metadata.uid === claim.metadata.uid ? { claim: newClaim, volume: newVolume } : { claim, volume };
  }

  private async grow(target: ExpansionTarget, { claim, volume }: BoundClaim, able: Capabilities): Promise<void> {
    const { source } = target;
    const key = uniqueVolumeName(source.driver, source.handle);
    const plan = expansionOf(claim, volume, this.sizes.get(key));
    if (plan === undefined) return;
    if (plan.do === 'note') {
      this.sizes.set(key, plan.size);
      return;
    }
    const { size, recover, updateClaim } = plan;
    if (this.refused.get(key) === size) return;
    let current = claim;
    if (recover && updateClaim) current = await this.patch(current, inProgress(current));
    try {
      await this.ask(target, size, able);
    } catch (error) {
      if (code(error) === 'Unimplemented' && !updateClaim) {
        this.sizes.set(key, size);
        return;
      }
      const words = rpcErrorText(error);
      if (recover && isFinal(error)) {
        const infeasible = INFEASIBLE.has(grpcCode(error));
        current = await this.patch(current, failed(current, words, infeasible, rfc3339(this.deps.clock.now())));
      }
      if (grpcCode(error) === IN_USE || (code(error) === 'Unimplemented' && !recover)) {
        this.refused.set(key, size);
        return;
      }
      const message = `NodeExpandVolume.NodeExpandVolume failed for volume "${target.volume.specName}" : ${words}`;
      this.event(target, current, 'Warning', 'VolumeResizeFailed', message, false);
      throw new CodedError(error instanceof CodedError ? error.code : 'Internal', message, {}, error);
    }
    this.sizes.set(key, size);
    const node = target.volume.pod.spec.nodeName ?? '';
    const message = `MountVolume.NodeExpandVolume succeeded for volume "${target.volume.specName}" ${node}`;
    this.event(target, current, 'Normal', 'FileSystemResizeSuccessful', message, true);
    if (updateClaim) await this.patch(current, finished(current, size));
  }

  private async ask({ client, source, ...at }: ExpansionTarget, size: string, able: Capabilities): Promise<void> {
    if (!able.has('EXPAND_VOLUME')) {
      const why = `NodeExpand is not supported by the CSI driver ${source.driver}`;
      throw new CodedError('Unimplemented', why, { driver: source.driver });
    }
    await client.expand({
      volumeId: source.handle,
      volumePath: at.path,
      ...(at.stagingPath === undefined ? {} : { stagingTargetPath: at.stagingPath }),
      capability: csiCapability(source, at.volume.volumeMode, able),
      requiredBytes: wholeValueOf(size),
      secrets: await secretValues(this.deps, source.expandSecret, 'NodeExpandSecretRef'),
    });
  }

  private async patch(claim: PersistentVolumeClaim, body: object): Promise<PersistentVolumeClaim> {
    const { name = '', namespace = '' } = claim.metadata;
    try {
      const target = { namespace, name, subresource: 'status' };
      return await this.deps.api.patch<PersistentVolumeClaim>(resources.persistentvolumeclaims, target, body, 'merge');
    } catch (error) {
      const why = `patchPVCStatus failed to patch PVC "${name}": ${messageOf(error)}`;
      throw new CodedError(code(error) ?? 'Internal', why, { claim: name, namespace }, error);
    }
  }

  private event(
    { volume: { pod } }: ExpansionTarget,
    claim: PersistentVolumeClaim,
    type: 'Normal' | 'Warning',
    reason: string,
    message: string,
    claimToo: boolean,
  ): void {
    const { name = '', namespace = '', uid = '' } = claim.metadata;
    const about: ObjectReference = { apiVersion: 'v1', kind: 'PersistentVolumeClaim', namespace, name, uid };
    this.deps.events.event(containerReference(pod), type, reason, message);
    if (claimToo) this.deps.events.event(about, type, reason, message);
  }
}

function code(error: unknown): CodedError['code'] | undefined {
  return error instanceof CodedError ? error.code : undefined;
}

function grpcCode(error: unknown): unknown {
  return error instanceof CodedError ? error.metadata['grpcCode'] : undefined;
}

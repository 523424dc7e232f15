import { CodedError, type ErrorCode } from '../../kit/errors.ts';
import type {
  CsiNode,
  CsiNodeCapability,
  CsiNodeInfo,
  CsiVolumeStats,
  ExpandRequest,
  PublishRequest,
  StageRequest,
} from './port.ts';

export interface FakeCsiNodeOptions {
  readonly info?: CsiNodeInfo;
  readonly capabilities?: readonly CsiNodeCapability[];
  /** By volume id: the size in bytes. Ephemeral volumes need none. */
  readonly volumes: Map<string, number>;
}

export interface FakeCsiNodeDeps {
  /** Makes a volume appear at a path, and takes it away. */
  readonly mount?: (volumeId: string, path: string) => Promise<void>;
  readonly unmount?: (path: string) => Promise<void>;
}

/** A CSI driver in memory, with the books and the refusals of a real one. */
export class FakeCsiNode implements CsiNode {
  readonly calls: string[] = [];
  /** By volume id: the staging path. */
  readonly staged = new Map<string, string>();
  /** By target path. */
  readonly published = new Map<string, PublishRequest>();
  /** What it says of the health of volumes. */
  condition: CsiVolumeStats['condition'];
  private readonly options: FakeCsiNodeOptions;
  private readonly deps: FakeCsiNodeDeps;
  private readonly refusals = new Map<string, CodedError>();
  private readonly hanging = new Set<string>();

  constructor(options: FakeCsiNodeOptions, deps: FakeCsiNodeDeps = {}) {
    this.options = options;
    this.deps = deps;
  }

  /** All calls of a method fail so until told otherwise (`undefined`). */
  refuse(
    method: string,
    refusal: { readonly code: ErrorCode; readonly grpcCode: number; readonly words: string } | undefined,
  ): void {
    if (refusal === undefined) this.refusals.delete(method);
    else this.refusals.set(method, failure(method, refusal.code, refusal.grpcCode, refusal.words));
  }

  /** Calls of a method are not answered; a caller can only give up. */
  hang(method: string): void {
    this.hanging.add(method);
  }

  async info(signal?: AbortSignal): Promise<CsiNodeInfo> {
    await this.called('NodeGetInfo', '', signal);
    return this.options.info ?? { nodeId: 'fake', maxVolumes: 0, topology: {} };
  }

  async capabilities(signal?: AbortSignal): Promise<ReadonlySet<CsiNodeCapability>> {
    await this.called('NodeGetCapabilities', '', signal);
    return new Set(this.options.capabilities ?? ['STAGE_UNSTAGE_VOLUME', 'EXPAND_VOLUME', 'GET_VOLUME_STATS']);
  }

  async stage({ volumeId, stagingTargetPath }: StageRequest, signal?: AbortSignal): Promise<void> {
    await this.called('NodeStageVolume', volumeId, signal);
    this.mustHave('NodeStageVolume', volumeId);
    const known = this.staged.get(volumeId);
    if (known !== undefined && known !== stagingTargetPath) {
      throw failure('NodeStageVolume', 'AlreadyExists', 6, `volume ${volumeId} is staged at ${known}`);
    }
    if (known === undefined) await this.deps.mount?.(volumeId, stagingTargetPath);
    this.staged.set(volumeId, stagingTargetPath);
  }

  async unstage({ volumeId }: { readonly volumeId: string; readonly stagingTargetPath: string }): Promise<void> {
    await this.called('NodeUnstageVolume', volumeId);
    const path = this.staged.get(volumeId);
    if (path === undefined) return;
    for (const [target, request] of this.published) {
      if (request.volumeId !== volumeId) continue;
      throw failure('NodeUnstageVolume', 'Conflict', 9, `volume ${volumeId} is published at ${target}`);
    }
    await this.deps.unmount?.(path);
    this.staged.delete(volumeId);
  }

  async publish(request: PublishRequest, signal?: AbortSignal): Promise<void> {
    const { volumeId, targetPath, stagingTargetPath, volumeContext } = request;
    await this.called('NodePublishVolume', volumeId, signal);
    if (volumeContext['csi.storage.k8s.io/ephemeral'] !== 'true') {
      this.mustHave('NodePublishVolume', volumeId);
      const stages = this.options.capabilities?.includes('STAGE_UNSTAGE_VOLUME') ?? true;
      if (stages && this.staged.get(volumeId) !== stagingTargetPath) {
        const why = `volume ${volumeId} is not staged at ${stagingTargetPath ?? ''}`;
        throw failure('NodePublishVolume', 'Conflict', 9, why);
      }
    }
    if (!this.published.has(targetPath)) await this.deps.mount?.(volumeId, targetPath);
    this.published.set(targetPath, request);
  }

  async unpublish({ volumeId, targetPath }: { readonly volumeId: string; readonly targetPath: string }): Promise<void> {
    await this.called('NodeUnpublishVolume', volumeId);
    if (this.published.delete(targetPath)) await this.deps.unmount?.(targetPath);
  }

  async expand({ volumeId, volumePath, requiredBytes }: ExpandRequest, signal?: AbortSignal): Promise<number> {
    await this.called('NodeExpandVolume', volumeId, signal);
    this.mustHave('NodeExpandVolume', volumeId);
    if (!this.published.has(volumePath) && this.staged.get(volumeId) !== volumePath) {
      throw failure('NodeExpandVolume', 'NotFound', 5, `volume ${volumeId} is not at ${volumePath}`);
    }
    const size = Math.max(requiredBytes, this.options.volumes.get(volumeId) ?? 0);
    this.options.volumes.set(volumeId, size);
    return size;
  }

  async stats({ volumeId }: { readonly volumeId: string; readonly volumePath: string }): Promise<CsiVolumeStats> {
    await this.called('NodeGetVolumeStats', volumeId);
    const total = this.mustHave('NodeGetVolumeStats', volumeId);
    return {
      bytes: { total, used: 4096, available: total - 4096 },
      inodes: { total: 100, used: 7, available: 93 },
      ...(this.condition === undefined ? {} : { condition: this.condition }),
    };
  }

  close(): void {}

  private mustHave(method: string, volumeId: string): number {
    const size = this.options.volumes.get(volumeId);
    if (size === undefined) throw failure(method, 'NotFound', 5, `there is no volume ${volumeId}`);
    return size;
  }

  private async called(method: string, volumeId: string, signal?: AbortSignal): Promise<void> {
    this.calls.push(volumeId === '' ? method : `${method} ${volumeId}`);
    if (this.hanging.has(method)) {
      await new Promise<never>((_, reject) => {
        const give = (): void => reject(new CodedError('Aborted', `${method} ${volumeId}: given up by the caller`));
        if (signal?.aborted === true) give();
        else signal?.addEventListener('abort', give, { once: true });
      });
    }
    const refusal = this.refusals.get(method);
    if (refusal !== undefined) throw refusal;
  }
}

function failure(method: string, code: ErrorCode, grpcCode: number, words: string): CodedError {
  return new CodedError(code, `${method}: ${words}`, { grpcCode, runtimeMessage: words });
}

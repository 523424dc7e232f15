import type { Clock } from '../../kit/clock.ts';
import { Channel } from '../cri/channel.ts';
import type { VolumeCapability } from './generated/requests.js';
import type { Method, Node } from './generated/services.js';
import type {
  CsiAccessMode,
  CsiNode,
  CsiNodeCapability,
  CsiNodeInfo,
  CsiUsage,
  CsiVolumeCapability,
  CsiVolumeStats,
  ExpandRequest,
  PublishRequest,
  StageRequest,
} from './port.ts';

export interface RealCsiNodeOptions {
  /** The driver's socket: a path or unix:///path. */
  readonly endpoint: string;
  /** For each call. Default 2 minutes (kubelet csiTimeout). */
  readonly timeoutMs?: number;
}

export interface RealCsiNodeDeps {
  readonly clock: Clock;
  /** Told of each call when it has ended: its method as on the wire, and what went wrong. */
  readonly called?: (method: string, seconds: number, error: unknown) => void;
}

/** NodeServiceCapability.RPC.Type and VolumeCapability.AccessMode.Mode by their numbers on the wire. */
const CAPABILITIES: readonly (CsiNodeCapability | undefined)[] = [
  undefined,
  'STAGE_UNSTAGE_VOLUME',
  'GET_VOLUME_STATS',
  'EXPAND_VOLUME',
  'VOLUME_CONDITION',
  'SINGLE_NODE_MULTI_WRITER',
  'VOLUME_MOUNT_GROUP',
];
const ACCESS_MODES: Readonly<Record<CsiAccessMode, number>> = {
  UNKNOWN: 0,
  SINGLE_NODE_WRITER: 1,
  MULTI_NODE_READER_ONLY: 3,
  MULTI_NODE_MULTI_WRITER: 5,
  SINGLE_NODE_SINGLE_WRITER: 6,
  SINGLE_NODE_MULTI_WRITER: 7,
};
const BYTES = 1;
const INODES = 2;

/** A CSI driver behind a unix socket. The connection is made with the first call, and anew where it broke. */
export class RealCsiNode implements CsiNode {
  private readonly channel: Channel;
  private readonly timeoutMs: number;
  private readonly deps: RealCsiNodeDeps;

  constructor({ endpoint, timeoutMs = 120_000 }: RealCsiNodeOptions, deps: RealCsiNodeDeps) {
    this.channel = new Channel(endpoint, deps.clock);
    this.timeoutMs = timeoutMs;
    this.deps = deps;
  }

  async info(signal?: AbortSignal): Promise<CsiNodeInfo> {
    const answer = await this.call('', (node) => node.NodeGetInfo, {}, signal);
    return {
      nodeId: answer.nodeId,
      maxVolumes: answer.maxVolumesPerNode.toNumber(),
      topology: { ...answer.accessibleTopology?.segments },
    };
  }

  async capabilities(signal?: AbortSignal): Promise<ReadonlySet<CsiNodeCapability>> {
    const answer = await this.call('', (node) => node.NodeGetCapabilities, {}, signal);
    const known = answer.capabilities.map(({ rpc }) => CAPABILITIES[rpc?.type ?? 0]);
    return new Set(known.filter((capability) => capability !== undefined));
  }

  async stage(request: StageRequest, signal?: AbortSignal): Promise<void> {
    const { capability, ...rest } = request;
    const body = { ...rest, volumeCapability: capabilityToWire(capability) };
    await this.call(request.volumeId, (node) => node.NodeStageVolume, body, signal);
  }

  async unstage(request: { readonly volumeId: string; readonly stagingTargetPath: string }): Promise<void> {
    await this.call(request.volumeId, (node) => node.NodeUnstageVolume, request);
  }

  async publish(request: PublishRequest, signal?: AbortSignal): Promise<void> {
    const { capability, readOnly, ...rest } = request;
    const body = { ...rest, readonly: readOnly, volumeCapability: capabilityToWire(capability) };
    await this.call(request.volumeId, (node) => node.NodePublishVolume, body, signal);
  }

  async unpublish(request: { readonly volumeId: string; readonly targetPath: string }): Promise<void> {
    await this.call(request.volumeId, (node) => node.NodeUnpublishVolume, request);
  }

  async expand(request: ExpandRequest, signal?: AbortSignal): Promise<number> {
    const { capability, requiredBytes, ...rest } = request;
    const body = { ...rest, capacityRange: { requiredBytes }, volumeCapability: capabilityToWire(capability) };
    const answer = await this.call(request.volumeId, (node) => node.NodeExpandVolume, body, signal);
    return answer.capacityBytes.toNumber();
  }

  async stats(request: { readonly volumeId: string; readonly volumePath: string }): Promise<CsiVolumeStats> {
    const { usage, volumeCondition } = await this.call(request.volumeId, (node) => node.NodeGetVolumeStats, request);
    const of = (unit: number): CsiUsage | undefined => {
      const found = usage.find((one) => one.unit === unit);
      if (found === undefined) return undefined;
      return { available: found.available.toNumber(), total: found.total.toNumber(), used: found.used.toNumber() };
    };
    const [bytes, inodes] = [of(BYTES), of(INODES)];
    return {
      ...(bytes === undefined ? {} : { bytes }),
      ...(inodes === undefined ? {} : { inodes }),
      ...(volumeCondition === null ? {} : { condition: { ...volumeCondition } }),
    };
  }

  close(): void {
    this.channel.close();
  }

  private async call<Request, Response>(
    subject: string,
    pick: (node: typeof Node) => Method<Request, Response>,
    request: Request,
    signal?: AbortSignal,
  ): Promise<Response> {
    // Loaded with the first driver: a node without any does not pay for it.
    const { Node } = await import('./generated/services.js');
    const method = pick(Node);
    const { clock, called } = this.deps;
    const since = clock.monotonic();
    const took = (error?: unknown): void => called?.(method.path, (clock.monotonic() - since) / 1000, error);
    try {
      const answer = await this.channel.unary(method, request, { subject, timeoutMs: this.timeoutMs, signal });
      took();
      return answer;
    } catch (error) {
      took(error);
      throw error;
    }
  }
}

function capabilityToWire({ accessMode, access }: CsiVolumeCapability): VolumeCapability {
  const mode = { accessMode: { mode: ACCESS_MODES[accessMode] } };
  if (access.type === 'block') return { ...mode, block: {} };
  const { fsType, mountFlags, group } = access;
  return { ...mode, mount: { fsType, mountFlags, ...(group === undefined ? {} : { volumeMountGroup: `${group}` }) } };
}

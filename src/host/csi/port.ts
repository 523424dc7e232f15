import type { Unsubscribe } from '../../kit/emitter.ts';

/**
 * The node service of one CSI driver (CSI 1.x, github.com/container-storage-interface/spec). Calls are idempotent on the
 * driver's side. Throws CodedError by the gRPC status, which metadata.grpcCode has as a number and metadata.runtimeMessage
 * in the driver's words; a call that is not answered within its time is DeadlineExceeded, an aborted one Aborted.
 */
export interface CsiNode {
  info(signal?: AbortSignal): Promise<CsiNodeInfo>;
  capabilities(signal?: AbortSignal): Promise<ReadonlySet<CsiNodeCapability>>;
  stage(request: StageRequest, signal?: AbortSignal): Promise<void>;
  unstage(request: { readonly volumeId: string; readonly stagingTargetPath: string }): Promise<void>;
  publish(request: PublishRequest, signal?: AbortSignal): Promise<void>;
  unpublish(request: { readonly volumeId: string; readonly targetPath: string }): Promise<void>;
  /** Answers the size that the driver says the volume has now, in bytes; 0: it does not say. */
  expand(request: ExpandRequest, signal?: AbortSignal): Promise<number>;
  stats(request: { readonly volumeId: string; readonly volumePath: string }): Promise<CsiVolumeStats>;
}

export interface CsiNodeInfo {
  /** What the driver calls this node. */
  readonly nodeId: string;
  /** 0: it knows of no limit. */
  readonly maxVolumes: number;
  readonly topology: Readonly<Record<string, string>>;
}

export type CsiNodeCapability =
  | 'STAGE_UNSTAGE_VOLUME'
  | 'GET_VOLUME_STATS'
  | 'EXPAND_VOLUME'
  | 'VOLUME_CONDITION'
  | 'SINGLE_NODE_MULTI_WRITER'
  | 'VOLUME_MOUNT_GROUP';

export type CsiAccessMode =
  | 'UNKNOWN'
  | 'SINGLE_NODE_WRITER'
  | 'MULTI_NODE_READER_ONLY'
  | 'MULTI_NODE_MULTI_WRITER'
  | 'SINGLE_NODE_SINGLE_WRITER'
  | 'SINGLE_NODE_MULTI_WRITER';

export interface CsiVolumeCapability {
  readonly accessMode: CsiAccessMode;
  readonly access:
    | { readonly type: 'block' }
    | {
        readonly type: 'mount';
        readonly fsType: string;
        readonly mountFlags: readonly string[];
        /** The group that the driver shall give the volume to; only for drivers with VOLUME_MOUNT_GROUP. */
        readonly group?: number;
      };
}

export interface StageRequest {
  readonly volumeId: string;
  readonly stagingTargetPath: string;
  readonly capability: CsiVolumeCapability;
  readonly publishContext: Readonly<Record<string, string>>;
  readonly volumeContext: Readonly<Record<string, string>>;
  readonly secrets: Readonly<Record<string, string>>;
}

export interface PublishRequest extends Omit<StageRequest, 'stagingTargetPath'> {
  /** Absent: the driver does not stage. */
  readonly stagingTargetPath?: string;
  readonly targetPath: string;
  readonly readOnly: boolean;
}

export interface ExpandRequest {
  readonly volumeId: string;
  readonly volumePath: string;
  readonly stagingTargetPath?: string;
  readonly capability: CsiVolumeCapability;
  readonly requiredBytes: number;
  readonly secrets: Readonly<Record<string, string>>;
}

export interface CsiUsage {
  readonly available: number;
  readonly total: number;
  readonly used: number;
}

export interface CsiVolumeStats {
  readonly bytes?: CsiUsage;
  readonly inodes?: CsiUsage;
  readonly condition?: { readonly abnormal: boolean; readonly message: string };
}

/** The CSI drivers that are registered on this node. */
export interface CsiDrivers {
  /** undefined: none of that name is registered. */
  get(name: string): CsiNode | undefined;
  /** Has a driver say again how many volumes this node can have of it, and tells the cluster. */
  update?(name: string): Promise<void>;
  /** Told the name of a driver that has registered. */
  subscribe(listener: (name: string) => void): Unsubscribe;
}

/** What a plugin answers on its socket in plugins_registry/ (kubelet pluginregistration v1). */
export interface PluginInfo {
  /** CSIPlugin, DevicePlugin or DRAPlugin. */
  readonly type: string;
  readonly name: string;
  /** A socket's path; "": the same socket. */
  readonly endpoint: string;
  readonly versions: readonly string[];
}

/** Asks the plugins behind sockets who they are. Throws as CsiNode does. */
export interface PluginRegistration {
  info(socket: string, signal?: AbortSignal): Promise<PluginInfo>;
  /** `error` "": it was taken. */
  notify(socket: string, error: string, signal?: AbortSignal): Promise<void>;
}

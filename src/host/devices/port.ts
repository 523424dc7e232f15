/** One device of a plugin. */
export interface PluginDevice {
  readonly id: string;
  readonly healthy: boolean;
  /** NUMA nodes that it is near to; empty: the plugin does not say. */
  readonly numaNodes: readonly number[];
}

export interface DevicePluginOptions {
  readonly preStartRequired: boolean;
  readonly preferredAllocation: boolean;
}

/** What a container gets with the devices that it was given (v1beta1 ContainerAllocateResponse). */
export interface DeviceGrant {
  readonly envs: Readonly<Record<string, string>>;
  readonly mounts: readonly { readonly containerPath: string; readonly hostPath: string; readonly readOnly: boolean }[];
  readonly devices: readonly {
    readonly containerPath: string;
    readonly hostPath: string;
    readonly permissions: string;
  }[];
  readonly annotations: Readonly<Record<string, string>>;
  /** Names that the runtime looks up itself (CDI). */
  readonly cdiDevices: readonly string[];
}

/** A device plugin (v1beta1). Throws CodedError by the gRPC status, as CsiNode does. */
export interface DevicePlugin {
  options(): Promise<DevicePluginOptions>;
  /** Hands over all devices now and at each change. Resolves when the plugin ends the list or the signal aborts. */
  watch(onDevices: (devices: readonly PluginDevice[]) => void, signal: AbortSignal): Promise<void>;
  preferred(request: {
    readonly available: readonly string[];
    readonly mustInclude: readonly string[];
    readonly size: number;
  }): Promise<readonly string[]>;
  allocate(ids: readonly string[]): Promise<DeviceGrant>;
  preStart(ids: readonly string[]): Promise<void>;
  close(): void;
}

export interface DeviceRegistration {
  readonly version: string;
  /** The plugin's socket, a name in device-plugins/. */
  readonly endpoint: string;
  readonly resource: string;
}

/** Sockets of an agent's device manager. */
export interface DevicePluginHost {
  connect(socket: string): DevicePlugin;
  /** Listens for plugins that announce themselves; what `onRegister` throws is told to the plugin. */
  serve(
    socket: string,
    onRegister: (registration: DeviceRegistration) => Promise<void>,
  ): Promise<{ close(): Promise<void> }>;
  /** A grant as it stands in the checkpoint (the message's bytes in base64), and back. */
  grantToText(grant: DeviceGrant): Promise<string>;
  grantFromText(text: string): Promise<DeviceGrant>;
}

import { CodedError } from '../../kit/errors.ts';
import type {
  DeviceGrant,
  DevicePlugin,
  DevicePluginHost,
  DevicePluginOptions,
  DeviceRegistration,
  PluginDevice,
} from './port.ts';

export const NO_GRANT: DeviceGrant = { envs: {}, mounts: [], devices: [], annotations: {}, cdiDevices: [] };

/** A plugin in memory, which refuses devices that it does not have. */
export class FakeDevicePlugin implements DevicePlugin {
  readonly calls: string[] = [];
  /** What calls of a method end with. */
  readonly faults = new Map<string, CodedError>();
  preferredIds: readonly string[] = [];
  grant: (ids: readonly string[]) => DeviceGrant = () => NO_GRANT;
  private readonly given: DevicePluginOptions;
  private readonly watchers = new Set<{ tell(): void; end(): void }>();
  private devices: readonly PluginDevice[];

  constructor(devices: readonly PluginDevice[], options: Partial<DevicePluginOptions> = {}) {
    this.devices = devices;
    this.given = { preStartRequired: false, preferredAllocation: false, ...options };
  }

  async options(): Promise<DevicePluginOptions> {
    this.called('GetDevicePluginOptions');
    return this.given;
  }

  async watch(onDevices: (devices: readonly PluginDevice[]) => void, signal: AbortSignal): Promise<void> {
    this.called('ListAndWatch');
    await new Promise<void>((resolve) => {
      const watcher = { tell: () => onDevices(this.devices), end: resolve };
      this.watchers.add(watcher);
      signal.addEventListener('abort', () => resolve(), { once: true });
      watcher.tell();
    });
  }

  async preferred(request: {
    readonly available: readonly string[];
    readonly mustInclude: readonly string[];
    readonly size: number;
  }): Promise<readonly string[]> {
    this.called(`GetPreferredAllocation ${request.size} of ${[...request.available].join()}`);
    return this.preferredIds;
  }

  async allocate(ids: readonly string[]): Promise<DeviceGrant> {
    this.called(`Allocate ${ids.join()}`);
    for (const id of ids) {
      if (this.devices.some((device) => device.id === id && device.healthy)) continue;
      throw new CodedError('NotFound', `there is no device ${id}`, { grpcCode: 5, runtimeMessage: `no device ${id}` });
    }
    return this.grant(ids);
  }

  async preStart(ids: readonly string[]): Promise<void> {
    this.called(`PreStartContainer ${ids.join()}`);
  }

  close(): void {
    this.end();
  }

  setDevices(devices: readonly PluginDevice[]): void {
    this.devices = devices;
    for (const { tell } of this.watchers) tell();
  }

  /** Its process has ended. */
  end(): void {
    for (const { end } of this.watchers) end();
    this.watchers.clear();
  }

  private called(what: string): void {
    this.calls.push(what);
    const fault = this.faults.get(what.split(' ')[0] ?? '');
    if (fault !== undefined) throw fault;
  }
}

/** Plugins by their sockets, and one server. */
export class FakeDevicePluginHost implements DevicePluginHost {
  readonly plugins = new Map<string, FakeDevicePlugin>();
  private onRegister: ((registration: DeviceRegistration) => Promise<void>) | undefined;

  connect(socket: string): DevicePlugin {
    const found = this.plugins.get(socket);
    if (found === undefined) throw new CodedError('Unavailable', `nothing listens on ${socket}`);
    return found;
  }

  async serve(
    _socket: string,
    onRegister: (registration: DeviceRegistration) => Promise<void>,
  ): Promise<{ close(): Promise<void> }> {
    this.onRegister = onRegister;
    return {
      close: async () => {
        this.onRegister = undefined;
      },
    };
  }

  /** As a plugin that announces itself. */
  async register(registration: DeviceRegistration): Promise<void> {
    if (this.onRegister === undefined) throw new CodedError('Unavailable', 'nothing listens on kubelet.sock');
    await this.onRegister(registration);
  }

  async grantToText(grant: DeviceGrant): Promise<string> {
    return Buffer.from(JSON.stringify(grant)).toString('base64');
  }

  async grantFromText(text: string): Promise<DeviceGrant> {
    return JSON.parse(Buffer.from(text, 'base64').toString()) as DeviceGrant;
  }
}

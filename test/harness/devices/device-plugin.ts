import { rmSync } from 'node:fs';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { addService, callUnary, GrpcFailure, type Handler, loadProtos } from '../grpc-service.ts';

export interface PluginDevice {
  readonly ID: string;
  readonly health: 'Healthy' | 'Unhealthy';
  readonly topology?: { readonly nodes: readonly { readonly ID: number }[] };
}

export interface DevicePluginOptions {
  /** device-plugins/ below kubelet's root directory. */
  readonly directory: string;
  readonly resource: string;
  /** Instead of kubelet.sock: the folder plugins_registry/, in which it listens and waits to be found. */
  readonly registry?: string;
  readonly preStart?: boolean;
  readonly preferred?: (request: { available: string[]; mustInclude: string[]; size: number }) => string[];
  /** What a container gets with these devices (ContainerAllocateResponse). */
  readonly grant?: (ids: string[]) => object;
}

interface ContainerRequest {
  readonly devicesIds: string[];
  readonly availableDeviceIDs: string[];
  readonly mustIncludeDeviceIDs: string[];
  readonly allocationSize: number;
}

/** A device plugin: real gRPC on a socket in device-plugins/, with devices that come, go and fall ill as a test wants. */
export class DevicePlugin {
  readonly calls: { readonly method: string; readonly ids: string[] }[] = [];
  /** Errors that calls of a method end with. */
  readonly faults = new Map<string, string>();
  /** What it was told of its registration through plugins_registry/. */
  readonly statuses: { readonly registered: boolean; readonly error: string }[] = [];
  versions: readonly string[] = ['v1beta1'];
  private readonly options: DevicePluginOptions;
  private readonly schema = loadProtos('deviceplugin');
  private readonly registration = loadProtos('pluginregistration');
  private readonly listeners = new Set<() => void>();
  private devices: readonly PluginDevice[];
  private server: Server | undefined;

  constructor(options: DevicePluginOptions, devices: readonly PluginDevice[]) {
    this.options = options;
    this.devices = devices;
  }

  private get socket(): string {
    return `${this.options.registry ?? this.options.directory}/${this.endpoint}`;
  }

  get endpoint(): string {
    return `${this.options.resource.replace(/[^a-z0-9]/g, '-')}.sock`;
  }

  /** Listens and announces itself. */
  async start(): Promise<void> {
    const { registry, resource } = this.options;
    const { socket } = this;
    rmSync(socket, { force: true });
    const server = new Server();
    if (registry !== undefined) {
      addService(server, this.registration.lookupService('pluginregistration.Registration'), {
        GetInfo: async () => ({ type: 'DevicePlugin', name: resource, endpoint: '', supportedVersions: this.versions }),
        NotifyRegistrationStatus: async (request) => {
          this.statuses.push({ registered: request['pluginRegistered'] === true, error: String(request['error']) });
          return {};
        },
      });
    }
    addService(server, this.schema.lookupService('v1beta1.DevicePlugin'), this.handlers(), {
      ListAndWatch: async (send, closed) => {
        const tell = (): void => send({ devices: this.devices });
        tell();
        this.listeners.add(tell);
        await new Promise<void>((resolve) => closed.addEventListener('abort', () => resolve(), { once: true }));
        this.listeners.delete(tell);
      },
    });
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(`unix://${socket}`, ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      );
    });
    this.server = server;
    if (registry === undefined) await this.register();
  }

  async register(request: object = {}): Promise<void> {
    const { directory, resource: resourceName } = this.options;
    const service = this.schema.lookupService('v1beta1.Registration');
    const body = { version: 'v1beta1', endpoint: this.endpoint, resourceName, ...request };
    await callUnary(`${directory}/kubelet.sock`, service, 'Register', body);
  }

  setDevices(devices: readonly PluginDevice[]): void {
    this.devices = devices;
    for (const tell of this.listeners) tell();
  }

  stop(): void {
    this.server?.forceShutdown();
    this.server = undefined;
    rmSync(this.socket, { force: true });
  }

  private handlers(): Record<string, Handler> {
    const { preStart = false, preferred, grant = () => ({}) } = this.options;
    const called = (method: string, ids: string[]): void => {
      this.calls.push({ method, ids });
      const fault = this.faults.get(method);
      if (fault !== undefined) throw new GrpcFailure(13, fault);
    };
    const requests = (request: Record<string, unknown>): ContainerRequest[] =>
      request['containerRequests'] as ContainerRequest[];
    return {
      GetDevicePluginOptions: async () => ({
        preStartRequired: preStart,
        getPreferredAllocationAvailable: preferred !== undefined,
      }),
      GetPreferredAllocation: async (request) => ({
        containerResponses: requests(request).map((one) => {
          called('GetPreferredAllocation', one.availableDeviceIDs);
          const { availableDeviceIDs: available, mustIncludeDeviceIDs: mustInclude, allocationSize: size } = one;
          return { deviceIDs: preferred?.({ available, mustInclude, size }) ?? [] };
        }),
      }),
      Allocate: async (request) => ({
        containerResponses: requests(request).map(({ devicesIds }) => {
          called('Allocate', devicesIds);
          return grant(devicesIds);
        }),
      }),
      PreStartContainer: async (request) => {
        called('PreStartContainer', request['devicesIds'] as string[]);
        return {};
      },
    };
  }
}

import type { Clock } from '../../kit/clock.ts';
import { CodedError } from '../../kit/errors.ts';
import { Channel } from '../cri/channel.ts';
import type { Method, DevicePlugin as Services } from './generated/services.js';
import type {
  DeviceGrant,
  DevicePlugin,
  DevicePluginHost,
  DevicePluginOptions,
  DeviceRegistration,
  PluginDevice,
} from './port.ts';
import { serveUnary } from './unary-server.ts';

type Generated = typeof import('./generated/services.js');

/** kubelet devicemanager: PreStartContainer 30 s; the others have no limit there, and must not hold a pod for ever here. */
const PRE_START_MS = 30_000;
const CALL_MS = 120_000;
const GRANT = 'v1beta1.ContainerAllocateResponse';

/** Device plugins behind unix sockets. */
export class RealDevicePluginHost implements DevicePluginHost {
  private readonly clock: Clock;

  constructor(deps: { readonly clock: Clock }) {
    this.clock = deps.clock;
  }

  connect(socket: string): DevicePlugin {
    return new RealDevicePlugin(socket, this.clock);
  }

  async serve(
    socket: string,
    onRegister: (registration: DeviceRegistration) => Promise<void>,
  ): Promise<{ close(): Promise<void> }> {
    return serveUnary(socket, {
      '/v1beta1.Registration/Register': async (bytes) => {
        const { Registration } = await generated();
        const { version, endpoint, resourceName: resource } = Registration.Register.decode(bytes);
        await onRegister({ version, endpoint, resource });
        return Registration.Register.encode({});
      },
    });
  }

  async grantToText({ cdiDevices, ...grant }: DeviceGrant): Promise<string> {
    const { sentPayloads } = await generated();
    const message = { ...grant, cdiDevices: cdiDevices.map((name) => ({ name })) };
    return Buffer.from(sentPayloads[GRANT](message)).toString('base64');
  }

  async grantFromText(text: string): Promise<DeviceGrant> {
    const { payloads } = await generated();
    return grantOf(payloads[GRANT](Buffer.from(text, 'base64')));
  }
}

class RealDevicePlugin implements DevicePlugin {
  private readonly channel: Channel;

  constructor(socket: string, clock: Clock) {
    this.channel = new Channel(socket, clock);
  }

  async options(): Promise<DevicePluginOptions> {
    const answer = await this.call((plugin) => plugin.GetDevicePluginOptions, {}, CALL_MS);
    return {
      preStartRequired: answer.preStartRequired,
      preferredAllocation: answer.getPreferredAllocationAvailable,
    };
  }

  async watch(onDevices: (devices: readonly PluginDevice[]) => void, signal: AbortSignal): Promise<void> {
    const { DevicePlugin: plugin } = await generated();
    await this.channel.stream(
      plugin.ListAndWatch,
      {},
      {
        signal,
        onMessage: ({ devices }) =>
          onDevices(
            devices.map(({ ID, health, topology }) => ({
              id: ID,
              healthy: health === 'Healthy',
              numaNodes: (topology?.nodes ?? []).map((node) => node.ID.toNumber()),
            })),
          ),
      },
    );
  }

  async preferred(request: {
    readonly available: readonly string[];
    readonly mustInclude: readonly string[];
    readonly size: number;
  }): Promise<readonly string[]> {
    const { available, mustInclude, size } = request;
    const container = { availableDeviceIDs: available, mustIncludeDeviceIDs: mustInclude, allocationSize: size };
    const answer = await this.call(
      (plugin) => plugin.GetPreferredAllocation,
      { containerRequests: [container] },
      CALL_MS,
    );
    return answer.containerResponses[0]?.deviceIDs ?? [];
  }

  async allocate(ids: readonly string[]): Promise<DeviceGrant> {
    const answer = await this.call((plugin) => plugin.Allocate, { containerRequests: [{ devicesIds: ids }] }, CALL_MS);
    const [container] = answer.containerResponses;
    if (container === undefined) {
      throw new CodedError('Internal', 'no containers return in allocation response {}');
    }
    return grantOf(container);
  }

  async preStart(ids: readonly string[]): Promise<void> {
    await this.call((plugin) => plugin.PreStartContainer, { devicesIds: ids }, PRE_START_MS);
  }

  close(): void {
    this.channel.close();
  }

  private async call<Request, Response>(
    pick: (plugin: typeof Services) => Method<Request, Response>,
    request: Request,
    timeoutMs: number,
  ): Promise<Response> {
    const { DevicePlugin: plugin } = await generated();
    return this.channel.unary(pick(plugin), request, { timeoutMs });
  }
}

function grantOf(
  message: Omit<DeviceGrant, 'cdiDevices'> & { readonly cdiDevices: { readonly name: string }[] },
): DeviceGrant {
  const { envs, mounts, devices, annotations, cdiDevices } = message;
  return {
    envs: { ...envs },
    mounts: mounts.map(({ containerPath, hostPath, readOnly }) => ({ containerPath, hostPath, readOnly })),
    devices: devices.map(({ containerPath, hostPath, permissions }) => ({ containerPath, hostPath, permissions })),
    annotations: { ...annotations },
    cdiDevices: cdiDevices.map(({ name }) => name),
  };
}

/** Loaded when the first plugin registers or the checkpoint has a grant. */
function generated(): Promise<Generated> {
  return import('./generated/services.js');
}

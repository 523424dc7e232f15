import type { Clock } from '../../kit/clock.ts';
import { type CallOptions, Channel } from '../cri/channel.ts';
import type { Method } from './generated/services.js';
import type { PluginInfo, PluginRegistration } from './port.ts';

/** kubelet pluginmanager/operationexecutor: a second for GetInfo after up to ten for the connection, five for the notice. */
const INFO_MS = 10_000;
const NOTIFY_MS = 5000;

/** Registration over gRPC, with a connection for each call, as plugins are asked once. */
export class RealPluginRegistration implements PluginRegistration {
  private readonly clock: Clock;

  constructor(deps: { readonly clock: Clock }) {
    this.clock = deps.clock;
  }

  async info(socket: string, signal?: AbortSignal): Promise<PluginInfo> {
    const { Registration } = await services();
    const { type, name, endpoint, supportedVersions } = await this.call(
      socket,
      Registration.GetInfo,
      {},
      { timeoutMs: INFO_MS, signal },
    );
    return { type, name, endpoint, versions: supportedVersions };
  }

  async notify(socket: string, error: string, signal?: AbortSignal): Promise<void> {
    const { Registration } = await services();
    const status = { pluginRegistered: error === '', error };
    await this.call(socket, Registration.NotifyRegistrationStatus, status, { timeoutMs: NOTIFY_MS, signal });
  }

  private async call<Request, Response>(
    socket: string,
    method: Method<Request, Response>,
    request: Request,
    options: CallOptions,
  ): Promise<Response> {
    const channel = new Channel(socket, this.clock);
    try {
      return await channel.unary(method, request, { subject: socket, ...options });
    } finally {
      channel.close();
    }
  }
}

/** Loaded with the first plugin: a node without any does not pay for it. */
function services(): Promise<typeof import('./generated/services.js')> {
  return import('./generated/services.js');
}

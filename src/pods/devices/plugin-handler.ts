import type { PluginInfo } from '../../host/csi/port.ts';
import { CodedError } from '../../kit/errors.ts';
import type { DeviceManager } from './device-manager.ts';

const VERSION = 'v1beta1';

/** Device plugins that come through plugins_registry/ (devicemanager/plugin/v1beta1/handler.go). */
export class DevicePluginHandler {
  private readonly manager: Pick<DeviceManager, 'connect' | 'disconnect'>;
  private readonly isExtendedResource: (name: string) => boolean;

  constructor(
    manager: Pick<DeviceManager, 'connect' | 'disconnect'>,
    deps: { readonly isExtendedResource: (name: string) => boolean },
  ) {
    this.manager = manager;
    this.isExtendedResource = deps.isExtendedResource;
  }

  /** Throws InvalidArgument. */
  validate({ name, versions }: PluginInfo): void {
    if (!versions.includes(VERSION)) {
      const why = `manager version, ${VERSION}, is not among plugin supported versions [${versions.join(' ')}]`;
      throw new CodedError('InvalidArgument', why, { resource: name });
    }
    if (!this.isExtendedResource(name)) {
      const why = `invalid name of device plugin socket: the ResourceName ${JSON.stringify(name)} is invalid`;
      throw new CodedError('InvalidArgument', why, { resource: name });
    }
  }

  async register({ name, endpoint }: PluginInfo): Promise<void> {
    await this.manager.connect(name, endpoint);
  }

  async deregister({ name, endpoint }: PluginInfo): Promise<void> {
    this.manager.disconnect(name, endpoint);
  }
}

import type { ContainerConfig } from '../../host/cri/port.ts';
import type { DeviceGrant } from '../../host/devices/port.ts';

/** A container's configuration with what its devices bring. What the pod says goes before what a plugin says. Pure. */
export function withDeviceGrant(config: ContainerConfig, grant: DeviceGrant | undefined): ContainerConfig {
  if (grant === undefined) return config;
  const { envs, mounts, devices, annotations, cdiDevices } = grant;
  return {
    ...config,
    envs: [...Object.entries(envs).map(([key, value]) => ({ key, value })), ...config.envs],
    mounts: [
      ...mounts.map(({ containerPath, hostPath, readOnly }) => ({
        containerPath,
        hostPath,
        readonly: readOnly,
        propagation: 'PRIVATE' as const,
      })),
      ...config.mounts,
    ],
    devices: [...devices, ...config.devices],
    annotations: { ...annotations, ...config.annotations },
    ...(cdiDevices.length === 0 ? {} : { cdiDevices }),
  };
}

import type { IpsetPort } from '../../host/ipset/port.ts';
import type { IpvsPort } from '../../host/ipvs/port.ts';
import type { ServiceDevicePort } from '../../host/service-device/port.ts';
import { CodedError, messageOf } from '../../kit/errors.ts';
import { deviceAlias } from './ipvs-kernel.ts';

/** An address for documentation (RFC 5737), which nobody has; kube-proxy tries the same one (pkg/proxy/ipvs/supported.go). */
const trial = '-t 198.51.100.0:20000';

/**
 * Finds out whether this machine can do IPVS with this scheduler: sets, virtual servers, and dummy devices. Throws
 * Unavailable, naming what is missing.
 */
export async function checkIpvs(
  { ipvs, ipset, device }: { readonly ipvs: IpvsPort; readonly ipset: IpsetPort; readonly device: ServiceDevicePort },
  scheduler: string,
): Promise<void> {
  const needs = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      const message = `can't use the IPVS proxier: ${what}: ${messageOf(error)}`;
      throw new CodedError('Unavailable', message, { mode: 'ipvs', scheduler }, error);
    }
  };
  await needs('it needs sets of addresses (package ipset, kernel modules ip_set and ip_set_hash_*)', () =>
    ipset.save(),
  );
  const present = await needs('it needs virtual servers (package ipvsadm, kernel module ip_vs)', () => ipvs.save());
  if (!present.includes(` -s ${scheduler}`)) {
    await needs(
      `it needs the scheduler ${scheduler} of ipvs.scheduler (kernel module ip_vs_${scheduler})`,
      async () => {
        await ipvs.restore(`-A ${trial} -s ${scheduler}\n`);
        await ipvs.restore(`-D ${trial}\n`);
      },
    );
  }
  // It is needed as soon as anything is, so that it may as well be made now.
  await needs(`it needs the device ${device.name} (kernel module dummy)`, () => device.ensure(deviceAlias));
}

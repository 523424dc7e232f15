import { FakeIpset } from '../../../../src/host/ipset/fake.ts';
import { FakeIptables } from '../../../../src/host/iptables/fake.ts';
import { FakeIpvs } from '../../../../src/host/ipvs/fake.ts';
import { FakeServiceDevice } from '../../../../src/host/service-device/fake.ts';
import { silent } from '../../../../src/kit/log.ts';
import type { IPFamily } from '../../../../src/model/service.ts';
import { IpvsBackend, type IpvsBackendOptions } from '../../../../src/services/act/ipvs-backend.ts';
import { nodeIP } from '../support/objects.ts';

/** A kernel in memory that has all that IPVS for Services takes, wired as the real parts are. */
export class IpvsFakeKernel {
  readonly ipset: FakeIpset;
  readonly ipvs: FakeIpvs;
  readonly device: FakeServiceDevice;
  readonly iptables: FakeIptables;

  constructor(options: { readonly family?: IPFamily; readonly refuses?: (line: string) => boolean } = {}) {
    const { family = 'IPv4', ...refuses } = options;
    this.ipset = new FakeIpset(refuses);
    this.ipvs = new FakeIpvs(refuses);
    this.device = new FakeServiceDevice();
    this.iptables = new FakeIptables({ family, localAddresses: [nodeIP], sets: () => this.ipset.names });
    this.ipset.inUse = () => this.iptables.setsInUse();
  }

  backend(options: Partial<IpvsBackendOptions> = {}): IpvsBackend {
    const { iptables, ipvs, ipset, device } = this;
    return new IpvsBackend(
      { scheduler: 'rr', excludeCIDRs: [], ...options },
      { iptables, ipvs, ipset, device, log: silent },
    );
  }

  /** All that it holds, whatever the order. */
  async content(): Promise<string[]> {
    const device = await this.device.read();
    const addresses = [...(device?.addresses.IPv4 ?? []), ...(device?.addresses.IPv6 ?? [])];
    return [
      ...(device === undefined ? [] : [`device ${device.alias}`]),
      ...addresses.map((address) => `address ${address}`).sort(),
      ...lines(await this.ipvs.save()),
      ...lines(await this.ipset.save()),
      ...(await this.iptables.save()).split('\n').filter((line) => /^(\*|:|-A)/.test(line)),
    ];
  }

  /** How often anything was written. */
  get writes(): number {
    return this.ipset.restores + this.ipvs.restores + this.device.changes + this.iptables.restores;
  }
}

function lines(text: string): string[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .sort();
}

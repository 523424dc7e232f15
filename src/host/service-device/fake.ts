import { CodedError } from '../../kit/errors.ts';
import { formatIp, parseIp } from '../../model/cidr.ts';
import type { ServiceDevice, ServiceDevicePort } from './port.ts';

/** A dummy device in memory. */
export class FakeServiceDevice implements ServiceDevicePort {
  readonly name: string;
  private device: { alias: string; addresses: Set<string> } | undefined;
  private readonly sources = new Map<string, string>();
  private readonly open = new Map<string, number>();
  private readonly refuses: (address: string) => boolean;
  /** The machine's other addresses. */
  private readonly own: readonly string[];
  /** How often addresses were changed, and what was asked for at last. */
  changes = 0;
  last: readonly string[] = [];

  constructor(
    options: {
      readonly name?: string;
      readonly refuses?: (address: string) => boolean;
      readonly own?: readonly string[];
    } = {},
  ) {
    this.name = options.name ?? 'kube-ipvs0';
    this.refuses = options.refuses ?? (() => false);
    this.own = options.own ?? ['127.0.0.1', '::1'];
  }

  async read(): Promise<ServiceDevice | undefined> {
    if (this.device === undefined) return undefined;
    const all = [...this.device.addresses];
    const IPv6 = all.filter((address) => address.includes(':'));
    return { alias: this.device.alias, addresses: { IPv4: all.filter((one) => !one.includes(':')), IPv6 } };
  }

  async ensure(alias: string): Promise<void> {
    this.device ??= { alias, addresses: new Set() };
    this.device.alias = alias;
  }

  async change(add: readonly string[], remove: readonly string[]): Promise<void> {
    this.changes++;
    this.last = [...add.map((one) => `+${one}`), ...remove.map((one) => `-${one}`)];
    const { device } = this;
    if (device === undefined) throw refuse(`Cannot find device "${this.name}"`);
    const refused = [...add, ...remove].filter((one) => parseIp(one) === undefined || this.refuses(one));
    for (const address of add) if (!refused.includes(address)) device.addresses.add(canonical(address));
    for (const address of remove) {
      if (refused.includes(address)) continue;
      device.addresses.delete(canonical(address));
      this.sources.delete(canonical(address));
    }
    if (refused.length > 0) throw refuse(`Error: any valid prefix is expected rather than "${refused[0]}"`);
  }

  async originateFrom(source: string, addresses: readonly string[]): Promise<void> {
    if (addresses.length === 0) return;
    if (!this.own.includes(source)) throw refuse('Error: Invalid prefsrc address.');
    for (const address of addresses) this.sources.set(canonical(address), source);
  }

  async originating(addresses: readonly string[]): Promise<number> {
    return addresses.reduce((sum, address) => sum + (this.open.get(canonical(address)) ?? 0), 0);
  }

  async remove(): Promise<void> {
    this.device = undefined;
    this.sources.clear();
  }

  /** Where a connection of the machine to an address of the device comes from; undefined when it is not on it. */
  async sourceOf(address: string): Promise<string | undefined> {
    if (!(this.device?.addresses.has(canonical(address)) ?? false)) return undefined;
    return this.sources.get(canonical(address)) ?? canonical(address);
  }

  /** So many connections come from the address now. */
  connect(address: string, connections: number): void {
    this.open.set(canonical(address), connections);
  }
}

function canonical(address: string): string {
  const ip = parseIp(address);
  return ip === undefined ? address : formatIp(ip);
}

function refuse(message: string): CodedError {
  return new CodedError('CommandFailed', `fake ip: ${message}`);
}

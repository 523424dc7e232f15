import { CodedError } from '../../kit/errors.ts';
import { type Cidr, cidrContains, formatCidr, formatIp, type Ip, parseCidr, parseIp } from '../../model/cidr.ts';
import type { IPFamily } from '../../model/service.ts';

/** The addresses of Services in one family, counted from 1; the network's own address and IPv4's last are left out. */
export class AddressRange {
  readonly family: IPFamily;
  readonly text: string;
  /** How many addresses can be handed out; a huge IPv6 range is cut to 2^16 (as Kubernetes does). */
  readonly size: number;
  private readonly cidr: Cidr;

  /** Throws InvalidConfig: no CIDR, or room for fewer addresses than `least`. */
  constructor(text: string, least = 8) {
    const cidr = parseCidr(text);
    if (cidr === undefined)
      throw new CodedError('InvalidConfig', `service CIDR ${JSON.stringify(text)} is not a CIDR such as 10.96.0.0/16`);
    this.cidr = cidr;
    this.family = cidr.family;
    this.text = formatCidr(cidr);
    const hostBits = (cidr.family === 'IPv4' ? 32 : 128) - cidr.prefix;
    const total = 2 ** Math.min(hostBits, cidr.family === 'IPv4' ? 20 : 16);
    this.size = Math.max(0, total - (cidr.family === 'IPv4' ? 2 : 1));
    if (this.size < least)
      throw new CodedError(
        'InvalidConfig',
        `service CIDR ${this.text} has room for ${this.size} addresses, ${least} are needed`,
      );
  }

  /** The nth address, from 1. */
  at(index: number): string {
    const width = this.family === 'IPv4' ? 8 : 16;
    const words = [...this.cidr.words];
    let carry = index;
    for (let position = words.length - 1; carry > 0 && position >= 0; position--) {
      const sum = (words[position] ?? 0) + (carry % 2 ** width);
      words[position] = sum % 2 ** width;
      carry = Math.floor(carry / 2 ** width) + Math.floor(sum / 2 ** width);
    }
    return formatIp({ family: this.family, words });
  }

  /** True for an address that can be a Service's: in the range, neither the network's own nor IPv4's last. */
  contains(text: string): boolean {
    const ip: Ip | undefined = parseIp(text);
    if (ip === undefined || !cidrContains(this.cidr, ip)) return false;
    const spelled = formatIp(ip);
    if (spelled === formatIp(this.cidr)) return false;
    return this.family === 'IPv6' || spelled !== this.at(this.size + 1);
  }
}

/** The one spelling, by which addresses are compared. */
export function canonicalIp(text: string): string {
  const ip = parseIp(text);
  return ip === undefined ? text : formatIp(ip);
}

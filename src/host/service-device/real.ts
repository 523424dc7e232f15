import { CodedError } from '../../kit/errors.ts';
import { formatIp, parseIp } from '../../model/cidr.ts';
import { type Outcome, runRuleCommand } from '../rule-command.ts';
import type { ServiceDevice, ServiceDevicePort } from './port.ts';

export interface ServiceDeviceOptions {
  readonly name: string;
  /** Put before each command; tests enter their namespace with it. */
  readonly prefix?: readonly string[];
}

interface Listed {
  readonly ifalias?: string;
  readonly addr_info?: readonly { readonly family: string; readonly local: string; readonly scope: string }[];
}

/** Routes of this protocol number are those of `originateFrom` (proto in ip-route(8); none of /etc/iproute2/rt_protos). */
const proto = 78;

/** By the ip command: one process for each change of addresses. */
export class RealServiceDevice implements ServiceDevicePort {
  readonly name: string;
  private readonly prefix: readonly string[];

  constructor({ name, prefix }: ServiceDeviceOptions) {
    this.name = name;
    this.prefix = prefix ?? [];
  }

  async read(): Promise<ServiceDevice | undefined> {
    const argv = ['ip', '-j', '-d', 'address', 'show', 'dev', this.name];
    const outcome = await this.run(argv);
    if (outcome.exitCode === 1 && outcome.stderr.includes('does not exist')) return undefined;
    if (outcome.exitCode !== 0) throw refused(argv, outcome);
    const [listed = {}]: readonly Listed[] = JSON.parse(outcome.stdout);
    const of = (family: string): string[] =>
      (listed.addr_info ?? []).filter((one) => one.family === family && one.scope !== 'link').map(({ local }) => local);
    return { alias: listed.ifalias ?? '', addresses: { IPv4: of('inet'), IPv6: of('inet6') } };
  }

  async ensure(alias: string): Promise<void> {
    if ((await this.read()) === undefined) {
      const argv = ['ip', 'link', 'add', this.name, 'type', 'dummy'];
      const outcome = await this.run(argv);
      // The other family may have been first.
      if (outcome.exitCode !== 0 && !outcome.stderr.includes('File exists')) throw refused(argv, outcome);
    }
    await this.checked(['ip', 'link', 'set', this.name, 'alias', alias]);
  }

  async change(add: readonly string[], remove: readonly string[], signal?: AbortSignal): Promise<void> {
    const lines = [
      ...add.map((address) => `address add ${cidrOf(address)} dev ${this.name}${nodad(address)}`),
      ...remove.flatMap((address) => [
        `address del ${cidrOf(address)} dev ${this.name}`,
        `route del local ${address} dev lo table local proto ${proto}`,
      ]),
    ];
    await this.batch(lines, /File exists|already assigned|Cannot assign|Address not found|No such process/, signal);
  }

  async originateFrom(source: string, addresses: readonly string[]): Promise<void> {
    if (addresses.length === 0) return;
    // The kernel's own route says that packets to the address come from it. Of IPv6 it can only be taken away once another
    // one stands, and not be replaced; the one of IPv4 goes with the replacement.
    const route = (address: string): string =>
      `route replace local ${address} dev lo table local src ${source} proto ${proto}`;
    await this.batch(addresses.map(route), /^$/);
    const own = (address: string): string => `route del local ${address} dev ${this.name} table local proto kernel`;
    await this.batch(addresses.map(own), /No such process/);
  }

  async originating(addresses: readonly string[]): Promise<number> {
    const { stdout } = await this.checked(['ss', '-Htun', 'state', 'connected', 'exclude', 'time-wait']);
    const wanted = new Set(addresses.map(plain));
    return stdout.split('\n').filter((line) => {
      const [, , , , local = ''] = line.trim().split(/\s+/);
      return wanted.has(plain(local.slice(0, local.lastIndexOf(':'))));
    }).length;
  }

  async remove(): Promise<void> {
    if ((await this.read()) === undefined) return;
    await this.checked(['ip', 'link', 'del', this.name]);
    // A table without any is no mistake of ours to hear of.
    for (const family of ['-4', '-6'])
      await this.run(['ip', family, 'route', 'flush', 'table', 'local', 'proto', `${proto}`]);
  }

  /** All lines although some fail; `fine` is what may be said about one. */
  private async batch(lines: readonly string[], fine: RegExp, signal?: AbortSignal): Promise<void> {
    const argv = ['ip', '-force', '-batch', '-'];
    const outcome = await this.run(argv, `${lines.join('\n')}\n`, signal);
    const complaints = outcome.stderr
      .split('\n')
      .filter((line) => line !== '' && !/^Command failed/.test(line) && !fine.test(line));
    if (complaints.length > 0 || outcome.exitCode === null) {
      throw refused(argv, { ...outcome, stderr: complaints.slice(0, 10).join('; ') });
    }
  }

  private async checked(argv: readonly string[]): Promise<Outcome> {
    const outcome = await this.run(argv);
    if (outcome.exitCode !== 0) throw refused(argv, outcome);
    return outcome;
  }

  private run(argv: readonly string[], input?: string, signal?: AbortSignal): Promise<Outcome> {
    return runRuleCommand([...this.prefix, ...argv], {
      input,
      installed: 'iproute2',
      signal,
    });
  }
}

/** As ss has it: "[::ffff:198.51.100.1]" for a socket that speaks both, "[2001:db8::1]". */
function plain(address: string): string {
  const ip = parseIp(address.replace(/^\[(::ffff:(?=[\d.]+\]))?|(%[^\]]*)?\]$/g, ''));
  return ip === undefined ? address : formatIp(ip);
}

function cidrOf(address: string): string {
  return address.includes(':') ? `${address}/128` : `${address}/32`;
}

/** Nobody else has the address on this link; the kernel need not ask around before it takes it. */
function nodad(address: string): string {
  return address.includes(':') ? ' nodad' : '';
}

function refused(argv: readonly string[], { exitCode, stderr }: Outcome): CodedError {
  return new CodedError(
    exitCode === null ? 'Unavailable' : 'CommandFailed',
    `${argv.join(' ')} failed with exit status ${exitCode ?? 'unknown (killed)'}: ${stderr.trim()}`,
    { exitCode: exitCode ?? undefined, stderr: stderr.trim() },
  );
}

import { CodedError } from '../../kit/errors.ts';
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
      ...remove.map((address) => `address del ${cidrOf(address)} dev ${this.name}`),
    ];
    const argv = ['ip', '-force', '-batch', '-'];
    const outcome = await this.run(argv, `${lines.join('\n')}\n`, signal);
    const complaints = outcome.stderr
      .split('\n')
      .filter(
        (line) =>
          line !== '' && !/File exists|already assigned|Cannot assign|Address not found|^Command failed/.test(line),
      );
    if (complaints.length > 0 || outcome.exitCode === null) {
      throw refused(argv, { ...outcome, stderr: complaints.slice(0, 10).join('; ') });
    }
  }

  async remove(): Promise<void> {
    if ((await this.read()) === undefined) return;
    await this.checked(['ip', 'link', 'del', this.name]);
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
      ...(signal === undefined ? {} : { signal }),
    });
  }
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

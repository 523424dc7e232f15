import { CodedError } from '../../kit/errors.ts';
import { type Outcome, runRuleCommand } from '../rule-command.ts';
import type { IpvsPort, OpenConnections } from './port.ts';

export interface IpvsOptions {
  /** Put before each command; tests enter their namespace with it. */
  readonly prefix?: readonly string[];
}

const options: Readonly<Record<string, string>> = { TCP: '-t', UDP: '-u', SCTP: '--sctp-service' };

/** By the ipvsadm command: one process for each text. */
export class RealIpvs implements IpvsPort {
  private readonly prefix: readonly string[];

  constructor({ prefix }: IpvsOptions = {}) {
    this.prefix = prefix ?? [];
  }

  async restore(text: string, signal?: AbortSignal): Promise<void> {
    const argv = ['ipvsadm', '-R'];
    const outcome = await this.run(argv, text, signal);
    // Its exit status is that of the last line; what it says on stderr is about any of them.
    if (outcome.exitCode !== 0 || outcome.stderr.trim() !== '') throw refused(argv, outcome);
  }

  async save(): Promise<string> {
    return (await this.checked(['ipvsadm', '-S', '-n'])).stdout;
  }

  async connections(): Promise<readonly OpenConnections[]> {
    const { stdout } = await this.checked(['ipvsadm', '-L', '-n']);
    const found: OpenConnections[] = [];
    let server = '';
    for (const line of stdout.split('\n')) {
      const [first = '', second = '', , weight = '', active = '', inactive = ''] = line.trim().split(/\s+/);
      const option = options[first];
      if (option !== undefined) server = `${option} ${second}`;
      else if (first === '->' && /^\d+$/.test(weight)) {
        const connections = Number(active) + Number(inactive);
        found.push({ server, real: second, weight: Number(weight), active: Number(active), connections });
      }
    }
    return found;
  }

  async setTimeouts(tcp: number, tcpFin: number, udp: number): Promise<void> {
    await this.checked(['ipvsadm', '--set', String(tcp), String(tcpFin), String(udp)]);
  }

  private async checked(argv: readonly string[]): Promise<Outcome> {
    const outcome = await this.run(argv);
    if (outcome.exitCode !== 0) throw refused(argv, outcome);
    return outcome;
  }

  private run(argv: readonly string[], input?: string, signal?: AbortSignal): Promise<Outcome> {
    return runRuleCommand([...this.prefix, ...argv], {
      input,
      installed: 'ipvsadm',
      signal,
    });
  }
}

function refused(argv: readonly string[], { exitCode, stderr }: Outcome): CodedError {
  const text = stderr.trim();
  return new CodedError(
    exitCode === null ? 'Unavailable' : 'CommandFailed',
    `${argv.join(' ')} failed with exit status ${exitCode ?? 'unknown (killed)'}: ${text}`,
    { exitCode: exitCode ?? undefined, stderr: text },
  );
}

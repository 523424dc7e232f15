import type { Clock } from '../../kit/clock.ts';
import { CodedError } from '../../kit/errors.ts';
import { runCommand } from '../command/run-command.ts';
import type { ServiceManagerPort } from './port.ts';

/** Of systemd, so that it is there wherever there is anybody to notify. */
const SYSTEMD_NOTIFY = 'systemd-notify';
const DEADLINE_MS = 5000;

export interface ServiceManagerOptions {
  /** $NOTIFY_SOCKET: a path, or "@name" in the abstract name space. */
  readonly socket: string;
}

/**
 * Node has no datagrams on unix sockets: systemd-notify(1) sends them, a few a minute, in the name of its parent, which is
 * this process, so that NotifyAccess=main is enough.
 */
export class RealServiceManager implements ServiceManagerPort {
  private readonly socket: string;
  private readonly clock: Clock;

  constructor({ socket }: ServiceManagerOptions, { clock }: { readonly clock: Clock }) {
    this.socket = socket;
    this.clock = clock;
  }

  async notify(assignments: Readonly<Record<string, string>>): Promise<void> {
    const words = Object.entries(assignments).map(([name, value]) => {
      if (/[\n\0]/.test(value)) {
        throw new CodedError(
          'InvalidArgument',
          `notify systemd: ${name} is ${JSON.stringify(value)}, expected one line`,
        );
      }
      return `${name}=${value}`;
    });
    const { exitCode, stderr } = await runCommand(SYSTEMD_NOTIFY, words, {
      deadlineMs: DEADLINE_MS,
      clock: this.clock,
      environment: { NOTIFY_SOCKET: this.socket },
    });
    if (exitCode !== 0) {
      throw new CodedError(
        'Unavailable',
        `notify systemd at ${this.socket}: ${stderr.trim() || `exit status ${exitCode}`}`,
      );
    }
  }
}

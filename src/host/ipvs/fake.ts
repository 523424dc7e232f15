import { CodedError } from '../../kit/errors.ts';
import { formatIp, parseIp } from '../../model/cidr.ts';
import type { IpvsPort, OpenConnections } from './port.ts';

interface Server {
  options: string;
  readonly reals: Map<string, { weight: number; connections: number }>;
}

const services: readonly string[] = ['-t', '-u', '--sctp-service'];
const schedulers: readonly string[] = [
  ...['rr', 'wrr', 'lc', 'wlc', 'fo', 'ovf', 'lblc', 'lblcr', 'dh', 'sh', 'mh', 'sed', 'nq', 'twos'],
];

/** Virtual servers in memory: does every line that the kernel would do, and says at the end which it would not. */
export class FakeIpvs implements IpvsPort {
  private readonly servers = new Map<string, Server>();
  private failure: CodedError | undefined;
  private readonly refuses: (line: string) => boolean;
  /** Texts so far, refused ones too, and the last one. */
  restores = 0;
  last = '';
  timeouts: readonly number[] = [900, 120, 300];

  constructor(options: { readonly refuses?: (line: string) => boolean } = {}) {
    this.refuses = options.refuses ?? (() => false);
  }

  /** The next restore fails with this error and changes nothing; undefined takes that back. */
  failNext(error: CodedError | undefined): void {
    this.failure = error;
  }

  /** `ipvsadm -C` by somebody else. */
  flush(): void {
    this.servers.clear();
  }

  /** So many connections are open to a real server now. */
  connect(server: string, real: string, connections: number): void {
    const found = this.servers.get(server)?.reals.get(real);
    if (found === undefined) throw new Error(`no ${real} at ${server}`);
    found.connections = connections;
  }

  async restore(text: string): Promise<void> {
    this.restores++;
    this.last = text;
    const { failure } = this;
    this.failure = undefined;
    if (failure !== undefined) throw failure;
    const complaints: string[] = [];
    for (const line of text.split('\n')) {
      if (line === '') continue;
      try {
        if (this.refuses(line)) throw refuse('Operation not supported');
        this.command(line.split(' '));
      } catch (error) {
        if (!(error instanceof CodedError)) throw error;
        // What cannot be read ends the whole text, what the kernel refuses does not.
        if (error.code === 'InvalidArgument') throw new CodedError('CommandFailed', `fake ipvsadm: ${error.message}`);
        complaints.push(error.message);
      }
    }
    if (complaints.length > 0) throw new CodedError('CommandFailed', `fake ipvsadm: ${complaints.join('\n')}`);
  }

  async save(): Promise<string> {
    const lines: string[] = [];
    for (const [id, { options, reals }] of this.servers) {
      lines.push(`-A ${id} ${options}`);
      for (const [real, { weight }] of reals) lines.push(`-a ${id} -r ${real} -m -w ${weight}`);
    }
    return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
  }

  async connections(): Promise<readonly OpenConnections[]> {
    return [...this.servers].flatMap(([server, { reals }]) =>
      [...reals].map(([real, { weight, connections }]) => ({ server, real, weight, active: connections, connections })),
    );
  }

  async setTimeouts(tcp: number, tcpFin: number, udp: number): Promise<void> {
    this.timeouts = [tcp, tcpFin, udp].map((seconds, at) => (seconds === 0 ? (this.timeouts[at] ?? 0) : seconds));
  }

  private command([command = '', option = '', place = '', ...rest]: readonly string[]): void {
    if (!services.includes(option)) throw unreadable(`unknown option ${option}`);
    const id = `${option} ${placeOf(place)}`;
    const server = this.servers.get(id);
    switch (command) {
      case '-A':
      case '-E': {
        const options = rest.join(' ');
        const scheduler = /^-s (\S+)( -p \d+)?( -b [a-z0-9,-]+)?$/.exec(options)?.[1];
        if (scheduler === undefined) throw unreadable(`illegal options ${options}`);
        if (command === '-A' && server !== undefined) throw refuse('Service already exists');
        if (command === '-E' && server === undefined) throw refuse('No such service');
        if (!schedulers.includes(scheduler)) throw refuse('Scheduler or persistence engine not found');
        if (server === undefined) this.servers.set(id, { options, reals: new Map() });
        else server.options = options;
        return;
      }
      case '-D':
        if (!this.servers.delete(id)) throw refuse('No such service');
        return;
      case '-a':
      case '-e':
      case '-d': {
        const [, real, weight] = /^-r (\S+)(?: -m -w (\d+))?$/.exec(rest.join(' ')) ?? [];
        if (real === undefined) throw unreadable(`illegal options ${rest.join(' ')}`);
        if (server === undefined) throw refuse(command === '-a' ? 'Service not defined' : 'No such service');
        const address = placeOf(real);
        if (address.startsWith('[') !== place.startsWith('['))
          throw refuse('Invalid operation.  Possibly wrong module version');
        const known = server.reals.get(address);
        if (command === '-a' && known !== undefined) throw refuse('Destination already exists');
        if (command !== '-a' && known === undefined) throw refuse('No such destination');
        if (command === '-d') server.reals.delete(address);
        else server.reals.set(address, { weight: Number(weight ?? 1), connections: known?.connections ?? 0 });
        return;
      }
      default:
        throw unreadable(`unknown command ${command}`);
    }
  }
}

/** "10.0.0.1:80", "[fd00::1]:80" */
function placeOf(text: string): string {
  const [, six, four, port = ''] = /^(?:\[([0-9a-f:.]+)\]|([\d.]+)):(\d+)$/.exec(text) ?? [];
  const ip = parseIp(six ?? four ?? '');
  if (ip === undefined || Number(port) < 1 || Number(port) > 65_535) {
    throw unreadable(`illegal virtual server address[:port] specified: ${text}`);
  }
  return ip.family === 'IPv6' ? `[${formatIp(ip)}]:${port}` : `${formatIp(ip)}:${port}`;
}

function refuse(message: string): CodedError {
  return new CodedError('CommandFailed', message);
}

function unreadable(message: string): CodedError {
  return new CodedError('InvalidArgument', message);
}

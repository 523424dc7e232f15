import { spawn } from 'node:child_process';
import { CodedError, messageOf } from '../../kit/errors.ts';
import { formatIp, parseIp } from '../../model/cidr.ts';
import type { IPFamily } from '../../model/service.ts';
import type { ConntrackPort, Flow, FlowFilter, FlowProtocol } from './port.ts';

export interface ConntrackOptions {
  /** Put before each command; tests enter their namespace with it. */
  readonly prefix?: readonly string[];
}

interface Outcome {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Connection tracking by the conntrack command (Debian package conntrack). */
export class RealConntrack implements ConntrackPort {
  private readonly prefix: readonly string[];

  constructor(options: ConntrackOptions = {}) {
    this.prefix = options.prefix ?? [];
  }

  async list(family: IPFamily, protocol: FlowProtocol): Promise<readonly Flow[]> {
    const outcome = await this.run(['-L', '-p', protocol.toLowerCase(), '-f', familyName(family)], '');
    if (outcome.exitCode !== 0) throw failed(`list ${protocol} flows`, outcome);
    return outcome.stdout.split('\n').flatMap((line) => parseFlow(line, family, protocol) ?? []);
  }

  async delete(filters: readonly FlowFilter[]): Promise<number> {
    // One process for all (conntrack-tools 1.4.7 and later); a line that matches no flow is no error there. A line with a
    // status does nothing there.
    const lines = filters.filter(({ replied }) => replied === undefined).map(deleteArguments);
    const single = filters.filter(({ replied }) => replied !== undefined).map(deleteArguments);
    let deleted = 0;
    if (lines.length > 0) {
      const outcome = await this.run(['-R', '-'], `${lines.map((words) => words.join(' ')).join('\n')}\n`);
      if (outcome.exitCode === 0) deleted += countDeleted(outcome);
      else single.push(...lines);
    }
    for (const words of single) {
      const one = await this.run(words, '');
      // Exit status 1 and "0 flow entries have been deleted": there was none.
      if (one.exitCode !== 0 && !one.stderr.includes('0 flow entries')) throw failed('delete flows', one);
      deleted += countDeleted(one);
    }
    return deleted;
  }

  private run(args: readonly string[], input: string): Promise<Outcome> {
    const [file = '', ...rest] = [...this.prefix, 'conntrack', ...args];
    return new Promise((resolve, reject) => {
      const child = spawn(file, rest, { stdio: ['pipe', 'pipe', 'pipe'] });
      child.stdout.setEncoding('utf8');
      child.stderr.setEncoding('utf8');
      const stdout: string[] = [];
      const stderr: string[] = [];
      child.stdout.on('data', (chunk: string) => stdout.push(chunk));
      child.stderr.on('data', (chunk: string) => stderr.push(chunk));
      child.once('error', (error) => {
        reject(new CodedError('CommandFailed', `start conntrack: ${messageOf(error)} (package conntrack)`));
      });
      child.once('close', (exitCode) => {
        resolve({ exitCode, stdout: stdout.join(''), stderr: stderr.join('') });
      });
      child.stdin.on('error', () => {});
      child.stdin.end(input);
    });
  }
}

function familyName(family: IPFamily): string {
  return family === 'IPv4' ? 'ipv4' : 'ipv6';
}

function deleteArguments(filter: FlowFilter): string[] {
  const words = ['-D', '-p', filter.protocol.toLowerCase(), '-f', familyName(filter.family)];
  if (filter.destination !== undefined) words.push('--orig-dst', filter.destination);
  words.push('--orig-port-dst', String(filter.destinationPort));
  if (filter.replySource !== undefined) words.push('--reply-src', filter.replySource);
  if (filter.replySourcePort !== undefined) words.push('--reply-port-src', String(filter.replySourcePort));
  if (filter.source !== undefined) words.push('--orig-src', filter.source);
  if (filter.sourcePort !== undefined) words.push('--orig-port-src', String(filter.sourcePort));
  if (filter.replied) words.push('--status', 'SEEN_REPLY');
  return words;
}

/** "… src=A dst=B sport=1 dport=2 [UNREPLIED] src=C dst=D sport=3 dport=4 …": the first four are the original way. */
function parseFlow(line: string, family: IPFamily, protocol: FlowProtocol): Flow | undefined {
  const fields = [...line.matchAll(/\b(src|dst|sport|dport)=(\S+)/g)].map((match) => match[2] ?? '');
  const [source, destination, sourcePort, destinationPort, replySource, , replySourcePort] = fields;
  const addresses = [source, destination, replySource].map((text) => parseIp(text ?? ''));
  const [from, to, reply] = addresses;
  if (from === undefined || to === undefined || reply === undefined || replySourcePort === undefined) return undefined;
  return {
    protocol,
    family,
    source: formatIp(from),
    sourcePort: Number(sourcePort),
    destination: formatIp(to),
    destinationPort: Number(destinationPort),
    replySource: formatIp(reply),
    replySourcePort: Number(replySourcePort),
    ...(line.includes('[UNREPLIED]') ? { unreplied: true } : {}),
  };
}

function countDeleted(outcome: Outcome): number {
  let sum = 0;
  for (const match of outcome.stderr.matchAll(/(\d+) flow entries have been deleted/g)) sum += Number(match[1]);
  if (sum > 0) return sum;
  return [...outcome.stdout.matchAll(/^(?:udp|tcp)\s/gm)].length;
}

function failed(what: string, outcome: Outcome): CodedError {
  return new CodedError(
    'CommandFailed',
    `${what}: conntrack ended with exit status ${outcome.exitCode ?? 'unknown (killed)'}: ${outcome.stderr.trim()}`,
  );
}

import { CodedError } from '../../kit/errors.ts';
import { formatCidr, formatIp, parseCidr, parseIp } from '../../model/cidr.ts';
import type { IpsetPort } from './port.ts';

interface FakeSet {
  readonly type: string;
  readonly options: string;
  readonly most: number;
  readonly members: Set<string>;
}

const types: readonly string[] = ['hash:ip', 'hash:ip,port', 'hash:ip,port,ip', 'hash:ip,port,net', 'bitmap:port'];
const longestName = 31;

/** Sets in memory: refuses what the kernel refuses, with the lines before that one done. */
export class FakeIpset implements IpsetPort {
  private sets = new Map<string, FakeSet>();
  private failure: CodedError | undefined;
  private readonly refuses: (line: string) => boolean;
  /** Which sets a rule looks into. */
  inUse: () => ReadonlySet<string> = () => new Set();
  /** Texts so far, refused ones too, and the last one. */
  restores = 0;
  last = '';

  constructor(options: { readonly refuses?: (line: string) => boolean } = {}) {
    this.refuses = options.refuses ?? (() => false);
  }

  /** The next restore fails with this error and changes nothing; undefined takes that back. */
  failNext(error: CodedError | undefined): void {
    this.failure = error;
  }

  /** `ipset flush` by somebody else. */
  flush(): void {
    for (const { members } of this.sets.values()) members.clear();
  }

  get names(): ReadonlySet<string> {
    return new Set(this.sets.keys());
  }

  async restore(text: string): Promise<void> {
    this.restores++;
    this.last = text;
    const { failure } = this;
    this.failure = undefined;
    if (failure !== undefined) throw failure;
    for (const [index, line] of text.split('\n').entries()) {
      if (line === '') continue;
      try {
        if (this.refuses(line)) throw refuse('Kernel error received: Operation not supported');
        this.command(line.split(' '));
      } catch (error) {
        if (!(error instanceof CodedError)) throw error;
        const metadata = { exitCode: 1, line: index + 1 };
        throw new CodedError('CommandFailed', `fake ipset: Error in line ${index + 1}: ${error.message}`, metadata);
      }
    }
  }

  async save(): Promise<string> {
    const lines: string[] = [];
    for (const [name, { type, options, members }] of this.sets) {
      lines.push(`create ${name} ${type} ${options}`);
      for (const member of members) lines.push(`add ${name} ${member}`);
    }
    return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
  }

  async sizes(): Promise<ReadonlyMap<string, number>> {
    return new Map([...this.sets].map(([name, { members }]) => [name, members.size]));
  }

  async destroy(names: readonly string[]): Promise<void> {
    for (const name of names) this.command(['destroy', name]);
  }

  private command([command = '', name = '', ...rest]: readonly string[]): void {
    switch (command) {
      case 'create':
        if (this.sets.has(name)) throw refuse('Set cannot be created: set with the same name already exists');
        if (name.length > longestName) throw refuse(`Syntax error: setname '${name}' is longer than 31 characters`);
        this.sets.set(name, made(rest));
        return;
      case 'add': {
        const set = this.set(name);
        const member = memberOf(rest[0] ?? '', set);
        if (set.members.has(member)) throw refuse("Element cannot be added to the set: it's already added");
        if (set.members.size >= set.most) throw refuse('Hash is full, cannot add more elements');
        set.members.add(member);
        return;
      }
      case 'del': {
        const set = this.set(name);
        if (!set.members.delete(memberOf(rest[0] ?? '', set))) {
          throw refuse("Element cannot be deleted from the set: it's not added");
        }
        return;
      }
      case 'swap': {
        const [one, other] = [this.set(name), this.set(rest[0] ?? '')];
        if (one.type !== other.type) throw refuse('The sets cannot be swapped: their type does not match');
        this.sets.set(name, other);
        this.sets.set(rest[0] ?? '', one);
        return;
      }
      case 'destroy':
        this.set(name);
        if (this.inUse().has(name)) throw refuse('Set cannot be destroyed: it is in use by a kernel component');
        this.sets.delete(name);
        return;
      default:
        throw refuse(`Unknown argument ${command}`);
    }
  }

  private set(name: string): FakeSet {
    const set = this.sets.get(name);
    if (set === undefined) throw refuse('The set with the given name does not exist');
    return set;
  }
}

function made([type = '', ...options]: readonly string[]): FakeSet {
  if (!types.includes(type)) throw refuse(`Syntax error: unknown settype ${type}`);
  const given = new Map<string, string>();
  for (let at = 0; at < options.length; at += 2) given.set(options[at] ?? '', options[at + 1] ?? '');
  if (type === 'bitmap:port') return { type, options: `range ${given.get('range')}`, most: 65_536, members: new Set() };
  const most = given.get('maxelem') ?? '65536';
  const printed = `family ${given.get('family') ?? 'inet'} hashsize ${given.get('hashsize') ?? '1024'} maxelem ${most}`;
  return { type, options: `${printed} bucketsize 12 initval 0x1`, most: Number(most), members: new Set() };
}

/** As it is printed. */
function memberOf(text: string, { type, options }: FakeSet): string {
  const kinds = type.slice(type.indexOf(':') + 1).split(',');
  const parts = text.split(',');
  if (parts.length !== kinds.length) throw refuse(`Syntax error: Elem separator in ${text}, settype ${type}`);
  const family = options.includes('inet6') ? 'IPv6' : 'IPv4';
  return parts.map((part, at) => partOf(part, kinds[at] ?? '', type === 'bitmap:port' ? undefined : family)).join(',');
}

function partOf(text: string, kind: string, family: string | undefined): string {
  if (kind === 'port') {
    const [protocol, port] = family === undefined ? [undefined, text] : text.split(':');
    if (family !== undefined && !['tcp', 'udp', 'sctp'].includes(protocol ?? '')) {
      throw refuse(`Syntax error: cannot parse '${text}' as a protocol`);
    }
    if (!/^\d+$/.test(port ?? '') || Number(port) > 65_535)
      throw refuse(`Syntax error: '${text}' is invalid as number`);
    return text;
  }
  const cidr = parseCidr(text);
  const ip = kind === 'net' && cidr !== undefined ? cidr : parseIp(text);
  if (ip === undefined || ip.family !== family) throw refuse(`Syntax error: cannot parse ${text}: resolving failed`);
  if (kind !== 'net' || cidr === undefined) return formatIp(ip);
  if (cidr.prefix === 0) throw refuse('The value of the CIDR parameter of the IP address is invalid');
  return cidr.prefix === (family === 'IPv4' ? 32 : 128) ? formatIp(cidr) : formatCidr(cidr);
}

function refuse(message: string): CodedError {
  return new CodedError('CommandFailed', message);
}

import { CodedError } from '../../kit/errors.ts';
import { type Cidr, formatCidr, formatIp, parseCidr, parseIp } from '../../model/cidr.ts';
import type { IPFamily } from '../../model/service.ts';

export interface AddressMatch {
  readonly negated: boolean;
  readonly cidr: Cidr;
}

export type Match =
  | { readonly kind: 'comment'; readonly text: string }
  | { readonly kind: 'port'; readonly protocol: string; readonly port: number | undefined }
  | { readonly kind: 'statistic'; readonly probability: number }
  | { readonly kind: 'recent'; readonly action: 'set' | 'rcheck'; readonly seconds: number; readonly list: string }
  | { readonly kind: 'mark'; readonly negated: boolean; readonly value: number; readonly mask: number }
  | { readonly kind: 'conntrack'; readonly negated: boolean; readonly states: readonly string[] }
  | { readonly kind: 'addrtype'; readonly negated: boolean; readonly side: 'src' | 'dst'; readonly type: string }
  | { readonly kind: 'set'; readonly negated: boolean; readonly set: string; readonly flags: string }
  | { readonly kind: 'ipvs'; readonly protocol: number; readonly address: Cidr; readonly port: number };

export type Target =
  | { readonly kind: 'chain'; readonly name: string }
  | { readonly kind: 'verdict'; readonly name: 'ACCEPT' | 'DROP' | 'RETURN' }
  | { readonly kind: 'reject'; readonly with: string }
  | { readonly kind: 'dnat'; readonly to: string }
  | { readonly kind: 'masquerade'; readonly random: boolean }
  | { readonly kind: 'mark'; readonly value: number; readonly mask: number };

export interface FakeRule {
  readonly source: AddressMatch | undefined;
  readonly destination: AddressMatch | undefined;
  readonly inInterface: { readonly negated: boolean; readonly name: string } | undefined;
  readonly protocol: string | undefined;
  readonly matches: readonly Match[];
  readonly target: Target | undefined;
  /** As iptables-save prints it, without "-A CHAIN". */
  readonly text: string;
}

const protocols = ['tcp', 'udp', 'sctp'];
/** XT_MAX_COMMENT_LEN includes the terminating zero; what is longer is cut without a word. */
const longestComment = 255;
/** XT_RECENT_NAME_LEN is 200 with its terminating zero. */
const longestList = 199;

export function refuse(message: string): CodedError {
  return new CodedError('CommandFailed', message);
}

/** Words of a line; double quotes hold words together, a backslash takes the next character as it is. */
export function wordsOf(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quoted = false;
  for (let index = 0; index < line.length; index++) {
    let character = line[index] ?? '';
    if (character === '"') {
      quoted = !quoted;
      word ??= '';
      continue;
    }
    if (character === ' ' && !quoted) {
      if (word !== undefined) words.push(word);
      word = undefined;
      continue;
    }
    if (character === '\\') character = line[++index] ?? '';
    word = (word ?? '') + character;
  }
  if (quoted) throw refuse('a quote is not closed');
  if (word !== undefined) words.push(word);
  return words;
}

/** Reads a rule's words ("-A CHAIN" taken off) and prints it anew; refuses what iptables refuses. */
export function parseRule(words: readonly string[], family: IPFamily, table: string): FakeRule {
  let position = 0;
  let negated = false;
  let source: AddressMatch | undefined;
  let destination: AddressMatch | undefined;
  let inInterface: { negated: boolean; name: string } | undefined;
  let protocol: string | undefined;
  let target: Target | undefined;
  const matches: Match[] = [];
  const more = (): boolean => position < words.length;
  const next = (): string => {
    const word = words[position++];
    if (word === undefined) throw refuse(`option "${words.at(-1)}" requires an argument`);
    return word;
  };
  const takeNegation = (): boolean => {
    const was = negated;
    negated = false;
    if (was) return true;
    if (words[position] !== '!') return false;
    position++;
    return true;
  };
  const address = (): AddressMatch | undefined => {
    const isNegated = takeNegation();
    const text = next();
    const cidr = parseCidr(text) ?? parseCidr(`${text}/${text.includes(':') ? 128 : 32}`);
    if (cidr === undefined || cidr.family !== family) throw refuse(`host/network \`${text}' not found`);
    // Everything matches the whole address space: iptables does not keep such a match.
    return cidr.prefix === 0 && !isNegated ? undefined : { negated: isNegated, cidr };
  };

  while (more()) {
    const word = next();
    switch (word) {
      case '!':
        negated = true;
        continue;
      case '-s':
        source = address();
        break;
      case '-d':
        destination = address();
        break;
      case '-i':
        inInterface = { negated: takeNegation(), name: next() };
        if (inInterface.name.length > 15) throw refuse(`interface name \`${inInterface.name}' must be shorter than 16`);
        break;
      case '-p':
        protocol = next();
        if (!protocols.includes(protocol)) throw refuse(`unknown protocol "${protocol}" specified`);
        break;
      case '-m':
        matches.push(parseMatch(next()));
        break;
      case '-j':
        target = parseTarget(next());
        break;
      default:
        throw refuse(`unknown option "${word}"`);
    }
    if (negated) throw refuse('"!" without something to negate');
  }
  for (const match of matches) {
    if (match.kind === 'port' && match.protocol !== protocol) {
      throw refuse(`match \`${match.protocol}' needs "-p ${match.protocol}"`);
    }
  }
  if (target?.kind === 'dnat' && target.to.includes(':') && protocol === undefined) {
    throw refuse('Need TCP, UDP, SCTP or DCCP with port specification');
  }
  const parts = { source, destination, inInterface, protocol, matches, target };
  return { ...parts, text: printRule(parts, family) };

  function parseMatch(name: string): Match {
    switch (name) {
      case 'comment': {
        expect('--comment');
        return { kind: 'comment', text: next().slice(0, longestComment) };
      }
      case 'tcp':
      case 'udp':
      case 'sctp': {
        if (words[position] !== '--dport') return { kind: 'port', protocol: name, port: undefined };
        position++;
        return { kind: 'port', protocol: name, port: portOf(next()) };
      }
      case 'statistic': {
        expect('--mode');
        if (next() !== 'random') throw refuse('only mode random is known here');
        expect('--probability');
        const text = next();
        const probability = Number(text);
        if (!(probability >= 0 && probability <= 1)) throw refuse(`bad value "${text}" for option "--probability"`);
        return { kind: 'statistic', probability: Math.round(probability * 2 ** 31) / 2 ** 31 };
      }
      case 'recent':
        return parseRecent();
      case 'mark': {
        const isNegated = takeNegation();
        expect('--mark');
        const [value = '', mask = '0xffffffff'] = next().split('/');
        return { kind: 'mark', negated: isNegated, value: number(value), mask: number(mask) };
      }
      case 'conntrack': {
        const isNegated = takeNegation();
        expect('--ctstate');
        return { kind: 'conntrack', negated: isNegated, states: next().split(',') };
      }
      case 'addrtype': {
        const isNegated = takeNegation();
        const side = next();
        if (side !== '--src-type' && side !== '--dst-type') throw refuse(`unknown option "${side}"`);
        return { kind: 'addrtype', negated: isNegated, side: side === '--src-type' ? 'src' : 'dst', type: next() };
      }
      case 'set': {
        const isNegated = takeNegation();
        expect('--match-set');
        const set = next();
        const flags = next();
        if (!/^(src|dst)(,(src|dst)){0,5}$/.test(flags)) throw refuse(`you must specify src and dst, not \`${flags}'`);
        return { kind: 'set', negated: isNegated, set, flags };
      }
      case 'ipvs': {
        expect('--vproto');
        const number_ = number(next());
        expect('--vaddr');
        const cidr = parseCidr(next());
        if (cidr === undefined || cidr.family !== family) throw refuse('bad value for option "--vaddr"');
        expect('--vport');
        return { kind: 'ipvs', protocol: number_, address: cidr, port: portOf(next()) };
      }
      default:
        throw refuse(`Couldn't load match \`${name}':No such file or directory`);
    }
  }

  function parseRecent(): Match {
    let action: 'set' | 'rcheck' | undefined;
    let seconds = 0;
    let list = 'DEFAULT';
    let reap = false;
    while (words[position]?.startsWith('--')) {
      const word = next();
      if (word === '--set') action = 'set';
      else if (word === '--rcheck') action = 'rcheck';
      else if (word === '--seconds') seconds = number(next());
      else if (word === '--reap') reap = true;
      else if (word === '--name') list = next();
      else if (word === '--mask') next();
      else if (word !== '--rsource') throw refuse(`unknown option "${word}"`);
    }
    if (action === undefined) throw refuse('recent: you must specify one of --set or --rcheck');
    if (list.length > longestList) throw refuse('recent: name too long');
    if (reap && seconds === 0) throw refuse('recent: --reap needs --seconds');
    return { kind: 'recent', action, seconds, list };
  }

  function parseTarget(name: string): Target {
    switch (name) {
      case 'ACCEPT':
      case 'DROP':
      case 'RETURN':
        return { kind: 'verdict', name };
      case 'REJECT': {
        if (table !== 'filter') throw refuse(`REJECT is only valid in the filter table, not in ${table}`);
        const standard = family === 'IPv4' ? 'icmp-port-unreachable' : 'icmp6-port-unreachable';
        if (words[position] !== '--reject-with') return { kind: 'reject', with: standard };
        position++;
        return { kind: 'reject', with: next() };
      }
      case 'DNAT': {
        if (table !== 'nat') throw refuse(`DNAT is only valid in the nat table, not in ${table}`);
        expect('--to-destination');
        return { kind: 'dnat', to: destinationOf(next(), family) };
      }
      case 'MASQUERADE': {
        if (table !== 'nat') throw refuse(`MASQUERADE is only valid in the nat table, not in ${table}`);
        const random = words[position] === '--random-fully';
        if (random) position++;
        return { kind: 'masquerade', random };
      }
      case 'MARK': {
        const option = next();
        const [text = '', maskText] = next().split('/');
        if (option === '--or-mark') return { kind: 'mark', value: number(text), mask: number(text) };
        if (option === '--xor-mark') return { kind: 'mark', value: number(text), mask: 0 };
        if (option !== '--set-xmark') throw refuse(`unknown option "${option}"`);
        return { kind: 'mark', value: number(text), mask: maskText === undefined ? 0xffffffff : number(maskText) };
      }
      default:
        return { kind: 'chain', name };
    }
  }

  function expect(option: string): void {
    const word = next();
    if (word !== option) throw refuse(`expected "${option}", not "${word}"`);
  }
}

function portOf(text: string): number {
  const port = number(text);
  if (port > 65_535) throw refuse(`invalid port/service \`${text}' specified`);
  return port;
}

function number(text: string): number {
  const value = Number(text);
  if (text === '' || !Number.isInteger(value) || value < 0 || value > 0xffffffff) {
    throw refuse(`"${text}" is not a number`);
  }
  return value;
}

function destinationOf(text: string, family: IPFamily): string {
  const parts = family === 'IPv4' ? /^([\d.]+):(\d+)$/.exec(text) : /^\[([0-9a-fA-F:.]+)\]:(\d+)$/.exec(text);
  const ip = parseIp(parts?.[1] ?? '');
  if (ip === undefined || ip.family !== family || parts?.[2] === undefined) throw refuse(`Bad IP address "${text}"`);
  const port = portOf(parts[2]);
  return family === 'IPv4' ? `${formatIp(ip)}:${port}` : `[${formatIp(ip)}]:${port}`;
}

function printRule(rule: Omit<FakeRule, 'text'>, family: IPFamily): string {
  const out: string[] = [];
  const not = (negated: boolean): string => (negated ? '! ' : '');
  if (rule.source) out.push(`${not(rule.source.negated)}-s ${formatCidr(rule.source.cidr)}`);
  if (rule.destination) out.push(`${not(rule.destination.negated)}-d ${formatCidr(rule.destination.cidr)}`);
  if (rule.inInterface) out.push(`${not(rule.inInterface.negated)}-i ${rule.inInterface.name}`);
  if (rule.protocol) out.push(`-p ${rule.protocol}`);
  for (const match of rule.matches) out.push(`-m ${printMatch(match, family)}`);
  if (rule.target) out.push(`-j ${printTarget(rule.target)}`);
  return out.join(' ');
}

function printMatch(match: Match, family: IPFamily): string {
  const not = (negated: boolean): string => (negated ? '! ' : '');
  switch (match.kind) {
    case 'comment':
      return /^[-_0-9A-Za-z]+$/.test(match.text)
        ? `comment --comment ${match.text}`
        : `comment --comment "${match.text.replace(/["'\\]/g, '\\$&')}"`;
    case 'port':
      return match.port === undefined ? match.protocol : `${match.protocol} --dport ${match.port}`;
    case 'statistic':
      return `statistic --mode random --probability ${match.probability.toFixed(11)}`;
    case 'recent': {
      const mask = family === 'IPv6' ? 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff' : '255.255.255.255';
      const when = match.action === 'set' ? '' : ` --seconds ${match.seconds} --reap`;
      return `recent --${match.action}${when} --name ${match.list} --mask ${mask} --rsource`;
    }
    case 'mark': {
      const mask = match.mask === 0xffffffff ? '' : `/0x${match.mask.toString(16)}`;
      return `mark ${not(match.negated)}--mark 0x${match.value.toString(16)}${mask}`;
    }
    case 'conntrack':
      return `conntrack ${not(match.negated)}--ctstate ${match.states.join(',')}`;
    case 'addrtype':
      return `addrtype ${not(match.negated)}--${match.side}-type ${match.type}`;
    case 'set':
      return `set ${not(match.negated)}--match-set ${match.set} ${match.flags}`;
    case 'ipvs':
      return `ipvs --vproto ${match.protocol} --vaddr ${formatCidr(match.address)} --vport ${match.port}`;
  }
}

function printTarget(target: Target): string {
  switch (target.kind) {
    case 'chain':
    case 'verdict':
      return target.name;
    case 'reject':
      return `REJECT --reject-with ${target.with}`;
    case 'dnat':
      return `DNAT --to-destination ${target.to}`;
    case 'masquerade':
      return target.random ? 'MASQUERADE --random-fully' : 'MASQUERADE';
    case 'mark':
      return `MARK --set-xmark 0x${target.value.toString(16)}/0x${target.mask.toString(16)}`;
  }
}

import { readFile } from 'node:fs/promises';
import { CodedError } from '../../kit/errors.ts';
import type { IPFamily } from '../../model/service.ts';
import { type Outcome, type RuleCommandOptions, runRuleCommand } from '../rule-command.ts';
import type { IptablesPort } from './port.ts';

export interface IptablesOptions {
  readonly family: IPFamily;
  /** Default: as detectFlavour finds. */
  readonly flavour?: 'nft' | 'legacy';
  /** Put before each command; tests enter their namespace with it. */
  readonly prefix?: readonly string[];
  /** Seconds to wait for the xtables lock (legacy flavour). Default 5, as kube-proxy. */
  readonly lockSeconds?: number;
  /** Told of each process that writes. */
  readonly started?: (pid: number) => void;
}

/** Chains that tell which flavour the agents of this node use. */
const canary = /^:KUBE-(PROXY-CANARY|KUBELET-CANARY|IPTABLES-HINT|SERVICES)\b/m;

/**
 * Finds out which flavour to use: the one that already holds Kubernetes' chains, or else the one that the plain
 * `iptables` command is. Looks into the legacy tables only if the kernel has some: asking would make them.
 */
export async function detectFlavour(options: IptablesOptions): Promise<'nft' | 'legacy'> {
  const prefix = options.prefix ?? [];
  const command = options.family === 'IPv4' ? 'iptables' : 'ip6tables';
  const names = await legacyTables(options);
  if (names.includes('nat') || names.includes('filter')) {
    const legacy = await run([...prefix, `${command}-legacy-save`]).catch(() => undefined);
    if (legacy?.exitCode === 0 && canary.test(legacy.stdout)) return 'legacy';
  }
  const version = await run([...prefix, command, '--version']);
  // Releases before the two flavours (1.8.0) say neither and are legacy.
  return version.stdout.includes('nf_tables') ? 'nft' : 'legacy';
}

async function legacyTables(options: IptablesOptions): Promise<string[]> {
  const path = options.family === 'IPv4' ? '/proc/net/ip_tables_names' : '/proc/net/ip6_tables_names';
  if (options.prefix !== undefined && options.prefix.length > 0) {
    const outcome = await run([...options.prefix, 'cat', path]).catch(() => undefined);
    return outcome?.stdout.split('\n') ?? [];
  }
  try {
    return (await readFile(path, 'utf8')).split('\n');
  } catch {
    // The file is there only while the kernel has legacy tables.
    return [];
  }
}

/**
 * The family's rules, or undefined when this kernel (or machine) has no NAT for it: then there is nothing that a proxy
 * could do in that family.
 */
export async function openIptables(options: IptablesOptions): Promise<IptablesPort | undefined> {
  const flavour = options.flavour ?? (await detectFlavour(options));
  const port = new RealIptables(options, flavour);
  try {
    await port.save('nat');
    return port;
  } catch (error) {
    if (error instanceof CodedError && error.code === 'CommandFailed') return undefined;
    throw error;
  }
}

class RealIptables implements IptablesPort {
  readonly family: IPFamily;
  readonly flavour: 'nft' | 'legacy';
  private readonly prefix: readonly string[];
  private readonly command: string;
  private readonly wait: readonly string[];
  private readonly started: ((pid: number) => void) | undefined;

  constructor(options: IptablesOptions, flavour: 'nft' | 'legacy') {
    this.family = options.family;
    this.flavour = flavour;
    this.prefix = options.prefix ?? [];
    this.command = `${options.family === 'IPv4' ? 'iptables' : 'ip6tables'}-${flavour}`;
    this.started = options.started;
    this.wait = ['-w', String(options.lockSeconds ?? 5)];
  }

  async restore(text: string, signal?: AbortSignal): Promise<void> {
    await this.checked([`${this.command}-restore`, '--noflush', ...this.wait], text, signal);
  }

  async save(table?: string): Promise<string> {
    const outcome = await this.checked([`${this.command}-save`, ...(table === undefined ? [] : ['-t', table])]);
    return outcome.stdout;
  }

  async list(table: string, chain: string): Promise<readonly string[] | undefined> {
    const argv = [this.command, ...this.wait, '-t', table, '-S', chain];
    const outcome = await run([...this.prefix, ...argv]);
    if (outcome.exitCode === 0) return outcome.stdout.split('\n').filter((line) => line.startsWith('-A '));
    // Exit status 1 without the chain; the nft flavour words it as "incompatible".
    if (outcome.exitCode === 1 && /No chain|does not exist|is incompatible/.test(outcome.stderr)) return undefined;
    throw refused(argv, outcome);
  }

  private async checked(argv: readonly string[], input?: string, signal?: AbortSignal): Promise<Outcome> {
    const outcome = await run([...this.prefix, ...argv], { input, signal, started: this.started });
    if (outcome.exitCode !== 0) throw refused(argv, outcome);
    return outcome;
  }
}

function refused(argv: readonly string[], outcome: Outcome): CodedError {
  const stderr = outcome.stderr.replace(/Try `.*/s, '').trim();
  const line = /line:? (\d+)/.exec(stderr)?.[1];
  const metadata = {
    command: argv.join(' '),
    exitCode: outcome.exitCode ?? undefined,
    ...(line === undefined ? {} : { line: Number(line) }),
    stderr,
  };
  // Exit status 4 is RESOURCE_PROBLEM: the lock, but with the nft flavour also whatever the kernel refuses.
  const mayPass =
    outcome.exitCode === null || /xtables lock|Temporarily unavailable|Resource temporarily|try again/i.test(stderr);
  return new CodedError(
    mayPass ? 'Unavailable' : 'CommandFailed',
    `${argv[0]} failed with exit status ${outcome.exitCode ?? 'unknown (killed)'}: ${stderr}`,
    metadata,
  );
}

function run(argv: readonly string[], options: Omit<RuleCommandOptions, 'installed'> = {}): Promise<Outcome> {
  return runRuleCommand(argv, { ...options, installed: 'iptables' });
}

import { CodedError } from '../../kit/errors.ts';
import type { IPFamily } from '../../model/service.ts';
import { type Outcome, type RuleCommandOptions, runRuleCommand } from '../rule-command.ts';
import { type NftablesPort, nftFamily, probeOf, probeSays, type RuleHandle, withoutHistory } from './port.ts';

export interface NftablesOptions {
  readonly family: IPFamily;
  /** Put before each command; tests enter their namespace with it. */
  readonly prefix?: readonly string[];
  /** Told of each process that writes. */
  readonly started?: (pid: number) => void;
}

/** kube-proxy's minimum, and so ours: before it nft does not know all that the rules say. */
const OLDEST = [1, 0, 1] as const;

/**
 * The family's tables, or undefined when this machine has no nft or the kernel no nf_tables for it. Throws Unavailable
 * when nft is older than 1.0.1.
 */
export async function openNftables(options: NftablesOptions): Promise<NftablesPort | undefined> {
  const version = await versionOf(options.prefix ?? []);
  if (version === undefined) return undefined;
  if (isOlder(version, OLDEST)) {
    throw new CodedError(
      'Unavailable',
      `nft is of version ${version.join('.')}; expected ${OLDEST.join('.')} or later`,
    );
  }
  const port = new RealNftables(options);
  try {
    await port.table('deckhand-probe');
    return port;
  } catch (error) {
    if (error instanceof CodedError && error.code === 'CommandFailed') return undefined;
    throw error;
  }
}

/** One `nft` process for each call. */
class RealNftables implements NftablesPort {
  readonly family: IPFamily;
  private readonly prefix: readonly string[];
  private readonly started: ((pid: number) => void) | undefined;

  constructor(options: NftablesOptions) {
    this.family = options.family;
    this.prefix = options.prefix ?? [];
    this.started = options.started;
  }

  async apply(text: string, signal?: AbortSignal): Promise<void> {
    await this.checked(['-f', '-'], text, signal);
  }

  async table(name: string, handles?: 'handles'): Promise<string | undefined> {
    return this.listed([...flags(handles), 'list', 'table', nftFamily(this.family), name]);
  }

  async chains(table: string, names: readonly string[], handles?: 'handles'): Promise<string | undefined> {
    const where = `${nftFamily(this.family)} ${table}`;
    // Each line by itself (-i): before nft 1.0.7 a file may list one chain only.
    const lines = names.map((name) => `list chain ${where} ${name}\n`);
    const args = [...flags(handles), '-i'];
    const outcome = await run([...this.prefix, 'nft', ...args], { input: lines.join(''), env: withoutHistory });
    if (outcome.exitCode === 0 && outcome.stderr === '') return outcome.stdout;
    if (isMissing(outcome)) return undefined;
    throw refused(args, outcome);
  }

  async holds(table: string, rules: readonly RuleHandle[]): Promise<boolean> {
    const probe = probeOf(this.family, table, rules);
    if (probe === undefined) return true;
    const args = ['-f', '-'];
    const outcome = await run([...this.prefix, 'nft', ...args], { input: probe });
    const answer = probeSays(outcome.stderr);
    if (answer === undefined) throw refused(args, outcome);
    return answer;
  }

  async close(): Promise<void> {}

  private async listed(args: readonly string[]): Promise<string | undefined> {
    const outcome = await run([...this.prefix, 'nft', ...args]);
    if (outcome.exitCode === 0) return outcome.stdout;
    if (isMissing(outcome)) return undefined;
    throw refused(args, outcome);
  }

  private async checked(args: readonly string[], input?: string, signal?: AbortSignal): Promise<Outcome> {
    const outcome = await run([...this.prefix, 'nft', ...args], { input, signal, started: this.started });
    if (outcome.exitCode !== 0) throw refused(args, outcome);
    return outcome;
  }
}

function isMissing({ exitCode, stderr }: Outcome): boolean {
  return exitCode !== null && exitCode < 2 && /No such file or directory/.test(stderr);
}

/** undefined: there is no nft. */
async function versionOf(prefix: readonly string[]): Promise<readonly number[] | undefined> {
  try {
    const { stdout } = await run([...prefix, 'nft', '--version']);
    const found = /nftables v(\d+(?:\.\d+)*)/.exec(stdout)?.[1];
    // Whatever does not say so is taken for new: the first write shows what it can.
    return found === undefined ? OLDEST : found.split('.').map(Number);
  } catch (error) {
    if (error instanceof CodedError && error.code === 'CommandFailed') return undefined;
    throw error;
  }
}

function isOlder(version: readonly number[], than: readonly number[]): boolean {
  for (const [index, wanted] of than.entries()) {
    const has = version[index] ?? 0;
    if (has !== wanted) return has < wanted;
  }
  return false;
}

function flags(handles: 'handles' | undefined): string[] {
  return handles === undefined ? ['-n'] : ['-n', '-a'];
}

function refused(args: readonly string[], outcome: Outcome): CodedError {
  const stderr = outcome.stderr.trim();
  const line = /^[^:\n]*:(\d+):\d+/m.exec(stderr)?.[1];
  const metadata = {
    command: `nft ${args.join(' ')}`,
    exitCode: outcome.exitCode ?? undefined,
    ...(line === undefined ? {} : { line: Number(line) }),
    stderr: stderr.slice(0, 2000),
  };
  const mayPass = outcome.exitCode === null || /Resource temporarily|try again|Interrupted system call/i.test(stderr);
  return new CodedError(
    mayPass ? 'Unavailable' : 'CommandFailed',
    `nft failed with exit status ${outcome.exitCode ?? 'unknown (killed)'}: ${stderr.slice(0, 500)}`,
    metadata,
  );
}

function run(argv: readonly string[], options: Omit<RuleCommandOptions, 'installed'> = {}): Promise<Outcome> {
  return runRuleCommand(argv, { ...options, installed: 'nftables' });
}

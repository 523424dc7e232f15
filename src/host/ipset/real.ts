import { setTimeout } from 'node:timers/promises';
import { CodedError } from '../../kit/errors.ts';
import { type Outcome, runRuleCommand } from '../rule-command.ts';
import type { IpsetPort } from './port.ts';

export interface IpsetOptions {
  /** Put before each command; tests enter their namespace with it. */
  readonly prefix?: readonly string[];
}

const ATTEMPTS = 40;
const PAUSE_MS = 50;

/** By the ipset command: one process for each text. */
export class RealIpset implements IpsetPort {
  private readonly prefix: readonly string[];

  constructor(options: IpsetOptions = {}) {
    this.prefix = options.prefix ?? [];
  }

  async restore(text: string, signal?: AbortSignal): Promise<void> {
    await this.checked(['ipset', 'restore'], text, signal);
  }

  async save(): Promise<string> {
    return (await this.checked(['ipset', 'save'])).stdout;
  }

  async sizes(): Promise<ReadonlyMap<string, number>> {
    const { stdout } = await this.checked(['ipset', 'list', '-t']);
    const found = stdout.matchAll(/^Name: (\S+)$[\s\S]*?^Number of entries: (\d+)$/gm);
    return new Map([...found].map(([, name = '', count = '']) => [name, Number(count)]));
  }

  async destroy(names: readonly string[]): Promise<void> {
    for (const name of names) {
      for (let attempt = 1; ; attempt++) {
        try {
          await this.checked(['ipset', 'destroy', name]);
          break;
        } catch (error) {
          const isBusy = error instanceof CodedError && /in use by a kernel component/.test(error.message);
          if (!isBusy || attempt === ATTEMPTS) throw error;
          await setTimeout(PAUSE_MS);
        }
      }
    }
  }

  private async checked(argv: readonly string[], input?: string, signal?: AbortSignal): Promise<Outcome> {
    const outcome = await runRuleCommand([...this.prefix, ...argv], {
      input,
      installed: 'ipset',
      signal,
    });
    if (outcome.exitCode !== 0) throw refused(argv, outcome);
    return outcome;
  }
}

function refused(argv: readonly string[], { exitCode, stderr }: Outcome): CodedError {
  const text = stderr.trim();
  const line = /in line (\d+)/.exec(text)?.[1];
  return new CodedError(
    exitCode === null ? 'Unavailable' : 'CommandFailed',
    `${argv.join(' ')} failed with exit status ${exitCode ?? 'unknown (killed)'}: ${text}`,
    { exitCode: exitCode ?? undefined, stderr: text, ...(line === undefined ? {} : { line: Number(line) }) },
  );
}

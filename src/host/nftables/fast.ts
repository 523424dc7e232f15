import { hasCode, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { IPFamily } from '../../model/service.ts';
import { type NftablesPort, probeOf, probeSays, type RuleHandle } from './port.ts';
import type { NftSession } from './session.ts';

/** Longer transactions go to a process of their own: what starting it costs no longer matters, and it reads a file. */
const LONGEST_LINE = 64 * 1024;

export interface FastNftablesDeps {
  /** Does what the session cannot. */
  readonly plain: NftablesPort;
  readonly session: NftSession;
  readonly log: Logger;
}

/**
 * Small transactions by a process that stays, everything else by `nft -f`. When the session says anything at all, the
 * same text goes to `nft -f`: a transaction that was refused has changed nothing, and that one says in which line.
 */
export class FastNftables implements NftablesPort {
  readonly family: IPFamily;
  private readonly plain: NftablesPort;
  private readonly session: NftSession;
  private readonly log: Logger;

  constructor(deps: FastNftablesDeps) {
    this.plain = deps.plain;
    this.session = deps.session;
    this.log = deps.log;
    this.family = deps.plain.family;
  }

  async apply(text: string, signal?: AbortSignal): Promise<void> {
    if (text.length <= LONGEST_LINE) {
      const line = lineOf(text);
      try {
        const output = await this.session.ask(line);
        // A warning is no refusal.
        if (!output.includes('Error')) return;
        this.log.debug({ output: output.slice(0, 500) }, 'nft -i refused a transaction, nft -f gets it');
      } catch (error) {
        if (!hasCode(error, 'Unavailable')) throw error;
        this.log.warn({ error: messageOf(error) }, 'the nft process that stays has failed, nft -f goes on');
      }
    }
    await this.plain.apply(text, signal);
  }

  table(name: string, handles?: 'handles'): Promise<string | undefined> {
    return this.plain.table(name, handles);
  }

  /** Never by the session: before nft 1.0.7 this takes long, and changes wait for what the session does. */
  chains(table: string, names: readonly string[], handles?: 'handles'): Promise<string | undefined> {
    return this.plain.chains(table, names, handles);
  }

  async holds(table: string, rules: readonly RuleHandle[]): Promise<boolean> {
    const probe = probeOf(this.family, table, rules);
    if (probe === undefined) return true;
    if (probe.length <= LONGEST_LINE) {
      try {
        const answer = probeSays(await this.session.ask(lineOf(probe)));
        if (answer !== undefined) return answer;
      } catch (error) {
        if (!hasCode(error, 'Unavailable')) throw error;
      }
    }
    return await this.plain.holds(table, rules);
  }

  /** The session belongs to whoever made it. */
  close(): Promise<void> {
    return this.plain.close();
  }
}

function lineOf(text: string): string {
  return text.trimEnd().replaceAll('\n', '; ');
}

import type { IptablesPort } from '../../host/iptables/port.ts';
import { messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import { type KernelBelief, parseKernelBelief } from '../delta/iptables/kernel-belief.ts';
import { type Transaction, TransactionBuilder } from '../delta/iptables/transaction.ts';
import type { BaseRules } from '../port.ts';
import { dispatchChains, type Table } from '../render/iptables/chains.ts';
import { isWantedChain, outFilterChain } from '../render/ipvs/chains.ts';
import { renderIpvsBase } from '../render/ipvs/render-base.ts';
import { excerpt } from './excerpt.ts';

const tables: readonly Table[] = ['filter', 'nat'];
/** Of chains that another mode left, with the nft flavour's cost of large transactions (see IptablesBackend). */
const operationsPerPiece = 5_000;
/** Chains that lead to others go before those. */
const leaders = ['KUBE-EXT-', 'KUBE-FW-', 'KUBE-SVC-', 'KUBE-SVL-', 'KUBE-SEP-'];

export interface WrittenRules {
  readonly operations: number;
  readonly written: Readonly<Record<Table, number>>;
}

/** The iptables rules around IPVS. */
export class IpvsRules {
  private readonly iptables: IptablesPort;
  private readonly log: Logger;

  constructor(iptables: IptablesPort, log: Logger) {
    this.iptables = iptables;
    this.log = log;
  }

  async readBack(isOurs: (chain: string) => boolean): Promise<KernelBelief> {
    return parseKernelBelief(await this.iptables.save(), isOurs);
  }

  /** All rules; in one transaction they take the place of those that iptables mode has in the same chains. */
  async put(
    base: BaseRules,
    outFilter: readonly string[],
    belief: KernelBelief,
    signal?: AbortSignal,
  ): Promise<WrittenRules> {
    const { chains, jumps } = renderIpvsBase(base);
    const sent: Transaction[] = [];
    let builder = new TransactionBuilder(belief);
    const flush = async (): Promise<void> => {
      const transaction = builder.build();
      if (transaction.text !== '') await this.send(transaction, signal);
      builder.committed();
      sent.push({ ...transaction, text: '' });
      builder = new TransactionBuilder(belief);
    };
    for (const { table, name, rules } of [
      ...chains,
      { table: 'filter' as const, name: outFilterChain, rules: outFilter },
    ]) {
      if (dispatchChains[table].includes(name)) builder.putDispatch(table, name, rules);
      else builder.putChain(table, name, rules);
    }
    for (const table of tables) {
      const here = jumps.filter((jump) => jump.table === table);
      for (const from of new Set([...here.map((jump) => jump.from), ...belief[table].jumps.keys()])) {
        builder.putJumps(
          table,
          from,
          here.filter((jump) => jump.from === from).map((jump) => jump.rule),
        );
      }
    }
    await flush();
    // Nothing leads to them any more.
    for (const table of tables) {
      const names = [...belief[table].chains.keys(), ...belief[table].dispatch.keys()];
      for (const name of names.filter((one) => !isWantedChain(table, one)).sort(leadersFirst)) {
        builder.removeChain(table, name);
        if (builder.operations >= operationsPerPiece) await flush();
      }
    }
    await flush();
    const sum = (count: (one: Transaction) => number): number => sent.reduce((total, one) => total + count(one), 0);
    return {
      operations: sum(({ operations }) => operations),
      written: { filter: sum(({ written }) => written.filter), nat: sum(({ written }) => written.nat) },
    };
  }

  async remove(isOurs: (chain: string) => boolean): Promise<void> {
    const builder = new TransactionBuilder(await this.readBack(isOurs));
    builder.removeEverything();
    const transaction = builder.build();
    if (transaction.text !== '') await this.send(transaction);
  }

  private async send(transaction: Transaction, signal?: AbortSignal): Promise<void> {
    try {
      await this.iptables.restore(transaction.text, signal);
    } catch (error) {
      this.log.error(
        { error: messageOf(error), operations: transaction.operations, rules: excerpt(transaction.text, error) },
        'the kernel refused the rules around IPVS',
      );
      throw error;
    }
  }
}

function leadersFirst(a: string, b: string): number {
  const rank = (name: string): number => {
    const at = leaders.findIndex((prefix) => name.startsWith(prefix));
    return at < 0 ? -1 : at;
  };
  return rank(a) - rank(b) || (a < b ? -1 : 1);
}

import type { KernelBelief } from '../delta/iptables/kernel-belief.ts';
import { type Transaction, TransactionBuilder } from '../delta/iptables/transaction.ts';

/** Writes one change in pieces: while the kernel takes one, the next is worked out. */
export class IptablesPieces {
  /** The piece that is being worked out. */
  builder: TransactionBuilder;
  /** What the kernel has taken, without the text. */
  readonly sent: Transaction[] = [];
  private readonly belief: KernelBelief;
  private readonly send: (transaction: Transaction) => Promise<void>;
  private underway = Promise.resolve();

  constructor(belief: KernelBelief, send: (transaction: Transaction) => Promise<void>) {
    this.belief = belief;
    this.send = send;
    this.builder = new TransactionBuilder(belief);
  }

  /** Hands on what has been worked out, once the kernel has taken the piece before. Throws what that one threw. */
  async flush(): Promise<void> {
    await this.underway;
    const { builder } = this;
    this.builder = new TransactionBuilder(this.belief);
    this.underway = this.commit(builder);
    // Whoever waits for it next is told.
    this.underway.catch(() => {});
  }

  /** Resolves when the kernel has taken the last piece. */
  end(): Promise<void> {
    return this.underway;
  }

  private async commit(builder: TransactionBuilder): Promise<void> {
    const transaction = builder.build();
    if (transaction.text !== '') await this.send(transaction);
    builder.committed();
    this.sent.push({ ...transaction, text: '' });
  }
}

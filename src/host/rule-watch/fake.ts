import { Emitter, type Unsubscribe } from '../../kit/emitter.ts';
import type { OwnWriters } from './own-writers.ts';
import type { RuleWatch, Writer } from './port.ts';

/** A watch in memory: told of commits by the test. It can be deaf for a while, and then says that it may have missed some. */
export class FakeRuleWatch implements RuleWatch {
  hears = false;
  private readonly own: OwnWriters;
  private readonly listeners = new Emitter<Writer | undefined>((error) => {
    throw error;
  });

  constructor(own: OwnWriters) {
    this.own = own;
  }

  /** Somebody commits a transaction. */
  commit(writer: Writer): void {
    this.hears = true;
    if (!this.own.has(writer.pid)) this.listeners.emit(writer);
  }

  /** The watch ends by itself, as for want of memory. */
  fail(): void {
    this.hears = false;
    this.listeners.emit(undefined);
  }

  subscribe(listener: (writer: Writer | undefined) => void): Unsubscribe {
    return this.listeners.subscribe(listener);
  }

  async close(): Promise<void> {
    this.hears = false;
  }
}

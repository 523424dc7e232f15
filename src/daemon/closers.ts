import { messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';

/** What was started, to be ended in the reverse order (design principle 16). */
export class Closers {
  private readonly steps: { readonly what: string; readonly close: () => unknown }[] = [];
  private readonly log: Logger;
  private closed = false;

  constructor(log: Logger) {
    this.log = log;
  }

  /** What is added after the end (a start that was overtaken by it) is ended at once. */
  add(what: string, close: () => unknown): void {
    this.steps.push({ what, close });
    if (this.closed) void this.close();
  }

  /** Ends everything although some of it fails; what failed is logged. */
  async close(): Promise<void> {
    this.closed = true;
    for (const { what, close } of this.steps.splice(0).reverse()) {
      try {
        await close();
      } catch (error) {
        this.log.error({ what, error: messageOf(error) }, 'could not be ended in order');
      }
    }
  }
}

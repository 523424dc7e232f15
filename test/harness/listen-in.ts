import { OwnWriters } from '../../src/host/rule-watch/own-writers.ts';
import { XtablesMonitor } from '../../src/host/rule-watch/real.ts';
import { SystemClock } from '../../src/kit/clock.ts';
import { silent } from '../../src/kit/log.ts';

/** Listens to what others write into the rules of a namespace, as the daemon does. `own.note` is for who writes for us. */
export function listenIn(prefix: readonly string[]): { readonly own: OwnWriters; readonly watch: XtablesMonitor } {
  const own = new OwnWriters();
  return { own, watch: new XtablesMonitor({ prefix }, { clock: new SystemClock(), log: silent, own }) };
}

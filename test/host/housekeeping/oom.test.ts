import { accessSync, constants, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { RealKmsg } from '../../../src/host/kmsg/real.ts';
import { SystemClock } from '../../../src/kit/clock.ts';
import { silent } from '../../../src/kit/log.ts';
import { OomWatcher } from '../../../src/node/oom-watcher.ts';
import { waitFor } from '../../harness/wait-for.ts';

const clock = new SystemClock();

function kernelLogIsThere(): boolean {
  try {
    accessSync('/dev/kmsg', constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

// A kill of the kernel's own would cost this machine a process: its lines are put into the log by hand.
describe.skipIf(!kernelLogIsThere())('SystemOOM', () => {
  it('tells of a machine out of memory from the real kernel log', async () => {
    const stop = new AbortController();
    const events: string[] = [];
    const kmsg = new RealKmsg({ everyMs: 50 }, { clock });
    const watcher = new OomWatcher({ kmsg, event: ({ message }) => events.push(message), log: silent });
    const done = watcher.run(stop.signal);
    const victim = `deckhand-test-${process.pid}`;
    const say = (line: string): void => writeFileSync('/dev/kmsg', `${line}\n`);
    say(`${victim} invoked oom-killer: gfp_mask=0x140cca, order=0, oom_score_adj=0`);
    say(`Out of memory: Killed process 4242 (${victim}) total-vm:1kB, anon-rss:1kB`);
    const mine = (): string[] => events.filter((message) => message.includes(victim));
    await waitFor('the event', () => mine().length > 0);
    expect(mine()).toEqual([`System OOM encountered, victim process: ${victim}, pid: 4242`]);
    stop.abort();
    await done;
  });

  it('ends by itself, with an error that names the file, where there is none', async () => {
    const kmsg = new RealKmsg({ path: '/dev/no-such-log' }, { clock });
    const first = kmsg.messages(new AbortController().signal)[Symbol.asyncIterator]().next();
    await expect(first).rejects.toMatchObject({
      code: 'NotFound',
      message: expect.stringContaining('/dev/no-such-log'),
    });
  });
});

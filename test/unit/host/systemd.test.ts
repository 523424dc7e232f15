import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RealServiceManager } from '../../../src/host/systemd/real.ts';
import { SystemClock } from '../../../src/kit/clock.ts';
import { waitFor } from '../../harness/wait-for.ts';

const clock = new SystemClock();
const installed = ['/usr/bin/systemd-notify', '/bin/systemd-notify'].some((path) => existsSync(path));

// Node cannot listen for datagrams on a unix socket; Perl, which every Debian has, can. It prints each datagram and the
// process in whose name it came (SO_PASSCRED, struct ucred).
const LISTENER = `
use Socket; $| = 1;
socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die; bind($s, sockaddr_un($ARGV[0])) or die;
print "listening\\n";
while (defined(recv($s, my $text, 4096, 0))) { next if $text =~ /^BARRIER/; print join("|", split(/\\n/, $text)), "\\n"; }
`;

describe.runIf(installed)('systemd-notify, as systemd hears it', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'deckhand-notify-'));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it('brings assignments in one datagram', async () => {
    const socket = join(directory, 'notify');
    const listener = spawn('perl', ['-e', LISTENER, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
    let heard = '';
    listener.stdout.setEncoding('utf8').on('data', (text: string) => {
      heard += text;
    });
    try {
      await waitFor('the listener', () => heard.includes('listening'));
      const manager = new RealServiceManager({ socket }, { clock });
      await manager.notify({ READY: '1', STATUS: 'node a is Ready; pods: 3' });
      await manager.notify({ WATCHDOG: '1' });
      await waitFor('both datagrams', () => heard.includes('WATCHDOG'));
      expect(heard.trim().split('\n').slice(1)).toEqual(['READY=1|STATUS=node a is Ready; pods: 3', 'WATCHDOG=1']);
      await expect(manager.notify({ STATUS: 'two\nREADY=1' })).rejects.toMatchObject({ code: 'InvalidArgument' });
    } finally {
      const ended = once(listener, 'exit');
      listener.kill();
      await ended;
    }
  });

  it('says so when nobody listens', async () => {
    const manager = new RealServiceManager({ socket: join(directory, 'none') }, { clock });
    await expect(manager.notify({ READY: '1' })).rejects.toMatchObject({
      code: 'Unavailable',
      message: expect.stringContaining(join(directory, 'none')),
    });
  });
});

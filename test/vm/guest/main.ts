// Runs in the virtual machine, as a unit of its systemd: makes what is seen to hold a line each on the second serial port.
import { existsSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { type Check, firstBoot, secondBoot } from './checks.ts';
import { run } from './machine.ts';
import { serviceChecks } from './service-checks.ts';

const REBOOTED = '/vmtest/rebooted';
/** Which group of checks is wanted, and after a "/" a pattern of their titles; without the file all of them are. */
const ONLY = '/vmtest/only';
const LIMIT_MS = 6 * 60_000;
const port = openSync('/dev/ttyS1', 'w');
const tell = (line: string): void => void writeSync(port, `${line.replaceAll('\n', ' ⏎ ')}\n`);

async function prepare(): Promise<void> {
  await run('systemctl', 'start', 'containerd');
  await run('sh', '-c', 'for image in /vmtest/images/*.tar; do ctr -n k8s.io images import "$image"; done');
  await run('sh', '-c', 'dpkg --force-confold -i /vmtest/package/*.deb');
  await run('systemctl', 'enable', 'deckhand');
}

/** A check that hangs is told of, with what the daemon had to say, and the next one has its turn. */
function inTime<T>(work: Promise<T>, limitMs = LIMIT_MS): Promise<T> {
  const late = new Promise<never>((_, reject) => {
    setTimeout(() => reject(new Error(`no end within ${limitMs / 60_000} minutes`)), limitMs).unref();
  });
  return Promise.race([work, late]);
}

async function check(checks: readonly Check[], words = ''): Promise<void> {
  for (const { title, limitMs, run: see } of checks) {
    if (!new RegExp(words).test(title)) continue;
    const began = performance.now();
    try {
      const figures = await inTime(see(), limitMs);
      tell(`ok ${title} | ${((performance.now() - began) / 1000).toFixed(1)} s | ${figures}`);
    } catch (error) {
      const journal = await run('journalctl', '-u', 'deckhand', '--no-pager', '-n', '12', '-o', 'cat').catch(() => '');
      tell(`not ok ${title} | ${error instanceof Error ? error.message : error} | ${journal.slice(-3000)}`);
    }
  }
}

try {
  if (existsSync(REBOOTED)) {
    await check(secondBoot);
    tell('end');
    await run('systemctl', 'poweroff');
  } else {
    tell(
      `machine ${(await run('uname', '-r')).trim()}, ${(await run('containerd', '--version')).trim()}, Node ${process.version}`,
    );
    const [only = '', words] = existsSync(ONLY) ? readFileSync(ONLY, 'utf8').trim().split('/') : [];
    if (only === '' || only === 'services') await check(serviceChecks, words);
    if (only === 'services') {
      tell('end');
      await run('systemctl', 'poweroff');
      process.exit(0);
    }
    await inTime(prepare());
    tell('installed');
    await check(firstBoot, words);
    if (words !== undefined) {
      tell('end');
      await run('systemctl', 'poweroff');
      process.exit(0);
    }
    writeFileSync(REBOOTED, '');
    tell('rebooting');
    await run('systemctl', 'reboot');
  }
} catch (error) {
  tell(`not ok the machine | ${error instanceof Error ? error.stack : error}`);
  tell('end');
  await run('systemctl', 'poweroff');
}

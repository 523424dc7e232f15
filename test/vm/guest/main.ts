// Runs in the virtual machine, as a unit of its systemd: makes what is seen to hold a line each on the second serial port.
import { existsSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { hostname } from 'node:os';
import { type Check, firstBoot, secondBoot, shortChecks } from './checks.ts';
import { controlPlane } from './control-plane.ts';
import { run } from './machine.ts';
import { answerNeighbour, NEIGHBOUR } from './neighbour.ts';
import { pairChecks } from './pair-checks.ts';
import { lastChecks, podChecks, shutdownChecks } from './pod-checks.ts';
import { benchChecks, serviceChecks } from './service-checks.ts';

/** How often the machine was booted before. */
const BOOTS = '/vmtest/boots';
/** Which groups of checks are wanted, and after a "/" a pattern of their titles. */
const GROUPS = '/vmtest/groups';
const LIMIT_MS = 20 * 60_000;
const port = openSync('/dev/ttyS1', 'w');
const tell = (line: string): void => void writeSync(port, `${line.replaceAll('\n', ' ⏎ ')}\n`);

const install: Check = {
  title: 'the package installs, beside containerd',
  always: true,
  run: async () => {
    await run('systemctl', 'start', 'containerd');
    await run('sh', '-c', 'for image in /vmtest/images/*.tar; do ctr -n k8s.io images import "$image"; done');
    await run('sh', '-c', 'dpkg --force-confold -i /vmtest/package/*.deb');
    await run('systemctl', 'enable', 'deckhand');
    return run('dpkg-query', '--show', 'deckhand');
  },
};

/** A check that hangs is told of, with what the daemon had to say, and the next one has its turn. */
function inTime<T>(work: Promise<T>, limitMs = LIMIT_MS): Promise<T> {
  const late = new Promise<never>((_, reject) => {
    setTimeout(() => reject(new Error(`no end within ${limitMs / 60_000} minutes`)), limitMs).unref();
  });
  return Promise.race([work, late]);
}

async function check(checks: readonly Check[], words: string): Promise<void> {
  for (const { title, limitMs, always, run: see } of checks) {
    if (always !== true && !new RegExp(words).test(title)) continue;
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

/** What is seen to hold from one boot to the next. */
function boots(groups: readonly string[]): readonly (readonly Check[])[] {
  if (groups.includes('services')) return [serviceChecks];
  if (groups.includes('bench')) return [benchChecks];
  if (groups.includes('two-nodes')) return [pairChecks];
  if (groups.includes('short')) return [[install, ...firstBoot.slice(0, 1), ...shortChecks]];
  const [withPackage, withPods] = [groups.includes('package'), groups.includes('pods')];
  const first = [install, ...(withPackage ? firstBoot : firstBoot.slice(0, 1))];
  return [
    [...first, ...(withPods ? podChecks : [])],
    [...(withPackage ? secondBoot : []), ...(withPods ? shutdownChecks : [])],
    ...(withPods ? [lastChecks] : []),
  ];
}

async function runChecks(): Promise<void> {
  const [groups = '', words = ''] = readFileSync(GROUPS, 'utf8').trim().split('/');
  const number = existsSync(BOOTS) ? Number(readFileSync(BOOTS, 'utf8')) : 0;
  const all = boots(groups.split(','));
  if (number === 0) {
    tell(
      `machine ${(await run('uname', '-r')).trim()}, ${(await run('containerd', '--version')).trim()}, Node ${process.version}`,
    );
  }
  await check(all[number] ?? [], words);
  if (number + 1 < all.length) {
    writeFileSync(BOOTS, String(number + 1));
    tell('rebooting');
    await run('systemctl', 'reboot');
  } else {
    tell('end');
    await run('systemctl', 'poweroff');
  }
}

if (process.argv[2] === 'control-plane') await controlPlane();
else if (hostname() === NEIGHBOUR) await answerNeighbour();
else {
  try {
    await runChecks();
  } catch (error) {
    tell(`not ok the machine | ${error instanceof Error ? error.stack : error}`);
    tell('end');
    await run('systemctl', 'poweroff');
  }
}

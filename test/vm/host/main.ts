// npm run test:vm: Debian 13 machines with systemd, cgroup v2 and Debian's own kernel, in software emulation, in which the
// package is installed and used. The last line counts: "N passed, N failed". `--only services`, package, pods or two-nodes
// runs one group of checks alone, `--only services/PATTERN` those of it whose titles match; `--only short` is for every run
// (.ci/run); `--only bench` measures mode ipvs, beside the others, and is no part of the whole.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { projectRoot } from '../../harness/project-root.ts';
import { checkGroups, copyOf, makeDisk } from './disk.ts';
import { baseImage, CACHE } from './image.ts';
import { Machine } from './machine.ts';

/** What has a machine each, one after the other: side by side they take as long. Pods go on where the package has ended. */
const MACHINES = ['services', 'package,pods', 'two-nodes'] as const;

const [flag, wanted] = process.argv.slice(2);
const only = checkGroups.find((one) => one === wanted?.split('/')[0]);
if (flag !== undefined && (flag !== '--only' || only === undefined)) {
  console.error(`test:vm: expected --only and one of ${checkGroups.join(', ')}`);
  process.exit(2);
}

const began = performance.now();
const groups: readonly string[] = wanted === undefined ? MACHINES : [wanted];
const directory = mkdtempSync(join(tmpdir(), 'deckhand-vm-'));
const running = new Set<Machine>();
let interrupted = false;
const counts = { passed: 0, failed: 0 };
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    interrupted = true;
    for (const machine of running) machine.stop();
  });
}

function say(text: string): void {
  if (text.startsWith('ok ')) counts.passed++;
  if (text.startsWith('not ok ')) counts.failed++;
  const seconds = ((performance.now() - began) / 1000).toFixed(0).padStart(5);
  console.log(`${seconds} s  ${text.replaceAll(' ⏎ ', '\n         ')}`);
}

/** Runs machines of which the first says when the checks are over. */
async function watch(machines: readonly Machine[]): Promise<void> {
  let ended = false;
  const [first] = machines;
  await Promise.all(
    machines.map(async (machine) => {
      running.add(machine);
      await machine.run((line) => {
        if (line === 'end') ended = true;
        if (line !== '') say(line);
      });
      running.delete(machine);
      if (machine === first && !ended) {
        say(`not ok the machine ended before its checks did; its console:\n${machine.lastWords}`);
      }
      // Nobody is left to end the others.
      if (machine === first) for (const other of machines) other.stop();
    }),
  );
}

async function runGroup(group: string, archive: string): Promise<void> {
  const own = join(directory, group.replaceAll(/[^a-z-]/g, '_').slice(0, 20));
  mkdirSync(own);
  say(`${group}: a disk with the package, images and checks`);
  const disk = await makeDisk(own, archive, join(projectRoot(), 'dist/vm-guest.mjs'), group);
  // A machine that starts after the signal would be nobody's.
  if (interrupted) return;
  say('booting');
  if (!group.startsWith('two-nodes')) {
    await watch([new Machine({ disk, console: join(own, 'console.log'), memoryMiB: 3072 })]);
  } else {
    const disks = [disk, await copyOf(disk, join(own, 'disk-2.img'))];
    const machines = disks.map((one, index) => {
      const [local, remote] = index === 0 ? ['1', '2'] : ['2', '1'];
      return new Machine({
        disk: one,
        console: join(own, `console-${local}.log`),
        memoryMiB: 2048,
        append: `systemd.hostname=worker-${local} net.ifnames=0`,
        cable: {
          local: join(own, `net-${local}`),
          remote: join(own, `net-${remote}`),
          mac: `52:54:00:00:00:0${local}`,
        },
      });
    });
    await watch(machines);
  }
  rmSync(own, { recursive: true, force: true });
}

try {
  const archive = await baseImage(CACHE, say);
  for (const group of groups) if (!interrupted) await runGroup(group, archive);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
const report = process.env['DECKHAND_VM_REPORT'];
if (report !== undefined) writeFileSync(report, JSON.stringify(counts));
console.log(`${counts.passed} passed, ${counts.failed} failed`);
process.exitCode = counts.failed > 0 || counts.passed === 0 ? 1 : 0;

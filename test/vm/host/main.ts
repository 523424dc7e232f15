// npm run test:vm: a Debian 13 machine with systemd, cgroup v2 and Debian's own kernel, in software emulation, in which the
// package is installed and used. The last line counts: "N passed, N failed". `--only services` or `--only package` runs one
// group of checks alone, `--only services/PATTERN` those of the group whose titles match.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { projectRoot } from '../../harness/project-root.ts';
import { checkGroups, makeDisk } from './disk.ts';
import { baseImage } from './image.ts';

const CACHE = process.env['DECKHAND_VM_CACHE'] ?? '/var/cache/deckhand-vm';
const DEADLINE_MS = 120 * 60_000;
const KVM_IS_BROKEN = 'tcg,thread=multi';

const [flag, group] = process.argv.slice(2);
const only = checkGroups.find((one) => one === group?.split('/')[0]);
if (flag !== undefined && (flag !== '--only' || only === undefined)) {
  console.error(`test:vm: expected --only and one of ${checkGroups.join(', ')}`);
  process.exit(2);
}

const began = performance.now();
const say = (text: string): void =>
  console.log(`${((performance.now() - began) / 1000).toFixed(0).padStart(5)} s  ${text}`);

const directory = mkdtempSync(join(tmpdir(), 'deckhand-vm-'));
let passed = 0;
let failed = 0;
try {
  const archive = await baseImage(CACHE, say);
  say('a disk with the package, images and checks');
  const { image, kernel, initrd } = await makeDisk(directory, archive, join(projectRoot(), 'dist/vm-guest.mjs'), group);
  say('booting');
  const console_ = join(directory, 'console.log');
  const machine = spawn(
    'qemu-system-x86_64',
    [
      ...['-accel', KVM_IS_BROKEN, '-cpu', 'Nehalem', '-smp', '2', '-m', '3072', '-nographic', '-monitor', 'none'],
      ...['-kernel', kernel, '-initrd', initrd, '-append', 'root=/dev/vda rw console=ttyS0 quiet panic=5 psi=1'],
      ...['-drive', `file=${image},if=virtio,format=raw,cache=unsafe`, '-nic', 'none'],
      ...['-serial', `file:${console_}`, '-serial', 'stdio'],
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const stop = (): void => void machine.kill('SIGKILL');
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  const late = setTimeout(stop, DEADLINE_MS);
  let ended = false;
  for await (const line of createInterface({ input: machine.stdout })) {
    const text = line.trim();
    if (text.startsWith('ok ')) passed++;
    if (text.startsWith('not ok ')) failed++;
    if (text === 'end') ended = true;
    if (text !== '') say(text.replaceAll(' ⏎ ', '\n         '));
  }
  clearTimeout(late);
  if (!ended) {
    failed++;
    const tail = existsSync(console_) ? readFileSync(console_, 'utf8').slice(-3000) : '';
    say(`not ok the machine ended before its checks did; its console:\n${tail}`);
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;

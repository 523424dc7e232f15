import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Disk } from './disk.ts';

const KVM_IS_BROKEN = 'tcg,thread=multi';
const DEADLINE_MS = 120 * 60_000;

export interface MachineOptions {
  readonly disk: Disk;
  /** Where its console's text goes. */
  readonly console: string;
  readonly memoryMiB: number;
  /** More words for the kernel. */
  readonly append?: string;
  /** Two sockets of a cable: this end's and the other one's. Without it there is no network card. */
  readonly cable?: { readonly local: string; readonly remote: string; readonly mac: string };
}

/** A machine in software emulation, from its boot on. */
export class Machine {
  private readonly options: MachineOptions;
  private readonly stopping = new AbortController();

  constructor(options: MachineOptions) {
    this.options = options;
  }

  /** Resolves when it has ended; `onLine` is told what is written to its second serial port. */
  async run(onLine: (line: string) => void): Promise<void> {
    const { disk, memoryMiB, append = '', console, cable } = this.options;
    const network =
      cable === undefined
        ? ['-nic', 'none']
        : [
            '-netdev',
            `dgram,id=cable,local.type=unix,local.path=${cable.local},remote.type=unix,remote.path=${cable.remote}`,
            ...['-device', `virtio-net-pci,netdev=cable,mac=${cable.mac}`],
          ];
    const child = spawn(
      'qemu-system-x86_64',
      [
        ...['-accel', KVM_IS_BROKEN, '-cpu', 'Nehalem', '-smp', '2', '-m', `${memoryMiB}`],
        ...['-nographic', '-monitor', 'none', '-kernel', disk.kernel, '-initrd', disk.initrd],
        ...['-append', `root=/dev/vda rw console=ttyS0 quiet panic=5 psi=1 ${append}`],
        ...['-drive', `file=${disk.image},if=virtio,format=raw,cache=unsafe`, ...network],
        ...['-serial', `file:${console}`, '-serial', 'stdio'],
      ],
      { stdio: ['ignore', 'pipe', 'inherit'], signal: this.stopping.signal, killSignal: 'SIGKILL' },
    );
    child.on('error', (error) => {
      if (!this.stopping.signal.aborted) onLine(`not ok the machine | ${error.message}`);
    });
    const late = setTimeout(() => this.stop(), DEADLINE_MS);
    for await (const line of createInterface({ input: child.stdout })) onLine(line.trim());
    clearTimeout(late);
  }

  /** As if its power failed. */
  stop(): void {
    this.stopping.abort();
  }

  /** The end of what its console has shown. */
  get lastWords(): string {
    const { console } = this.options;
    return existsSync(console) ? readFileSync(console, 'utf8').slice(-3000) : '';
  }
}

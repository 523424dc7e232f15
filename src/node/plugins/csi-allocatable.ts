import type { View } from '../../cluster/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { CSIDriver } from '../../model/storage.ts';
import type { CsiDriverRegistry } from './csi-driver-registry.ts';

export interface CsiAllocatableDeps {
  readonly drivers: Pick<CsiDriverRegistry, 'names' | 'update'>;
  readonly objects: () => Pick<View<CSIDriver>, 'get'>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The shortest period that the API takes. */
const TICK_MS = 10_000;

/**
 * Asks drivers now and then how many volumes this node may have of them, where their CSIDriver objects say so
 * (nodeAllocatableUpdatePeriodSeconds, KEP-4876).
 */
export class CsiAllocatable {
  private readonly deps: CsiAllocatableDeps;
  private readonly askedAt = new Map<string, number>();

  constructor(deps: CsiAllocatableDeps) {
    this.deps = deps;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.deps;
    while (!signal.aborted) {
      await clock.sleep(TICK_MS, signal).catch(() => {});
      if (!signal.aborted) await this.look();
    }
  }

  private async look(): Promise<void> {
    const { drivers, objects, clock, log } = this.deps;
    const names = drivers.names();
    for (const name of this.askedAt.keys()) if (!names.includes(name)) this.askedAt.delete(name);
    const now = clock.monotonic();
    const due = names.filter((name) => {
      const seconds = objects().get(name)?.spec.nodeAllocatableUpdatePeriodSeconds ?? 0;
      const askedAt = this.askedAt.get(name);
      // It was asked when it registered.
      if (askedAt === undefined) this.askedAt.set(name, now);
      return seconds > 0 && askedAt !== undefined && now - askedAt >= seconds * 1000;
    });
    await Promise.all(
      due.map(async (name) => {
        this.askedAt.set(name, now);
        await drivers.update(name).catch((error: unknown) => {
          log.warn({ driver: name, error: messageOf(error) }, 'the count of volumes of a CSI driver was not updated');
        });
      }),
    );
  }
}

import type { CriRuntime } from '../host/cri/port.ts';
import { RetryDelays } from '../kit/backoff.ts';
import type { Clock } from '../kit/clock.ts';
import { messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';

export interface PodCIDRFollowerDeps {
  readonly cri: Pick<CriRuntime, 'updateRuntimeConfig'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Tells the runtime where this node's pods get their addresses from, whenever that changes (kubelet updatePodCIDR):
 * runtimes that write their own network configuration wait for it, the others do not mind.
 */
export class PodCIDRFollower {
  private readonly deps: PodCIDRFollowerDeps;
  private readonly stop = new AbortController();
  private wanted = '';
  private told = '';
  private telling: Promise<void> | undefined;

  constructor(deps: PodCIDRFollowerDeps) {
    this.deps = deps;
  }

  /** One of each family at most; none: nothing is told. */
  set(podCIDRs: readonly string[]): void {
    this.wanted = podCIDRs.join(',');
    if (this.wanted === '' || this.wanted === this.told) return;
    this.telling ??= this.tell().finally(() => {
      this.telling = undefined;
    });
  }

  async close(): Promise<void> {
    this.stop.abort();
    await this.telling;
  }

  private async tell(): Promise<void> {
    const { cri, clock, logger } = this.deps;
    const delays = new RetryDelays({ baseMs: 1000, maxMs: 60_000 });
    for (let told = false; this.wanted !== this.told && !this.stop.signal.aborted; ) {
      const podCIDR = this.wanted;
      try {
        await cri.updateRuntimeConfig(podCIDR);
        logger.info({ podCIDR, before: this.told }, 'told the runtime the pod CIDR');
        this.told = podCIDR;
      } catch (error) {
        if (!told)
          logger.warn({ podCIDR, error: messageOf(error) }, 'the runtime did not take the pod CIDR; it is retried');
        told = true;
        await clock.sleep(delays.next(), this.stop.signal).catch(() => {});
      }
    }
  }
}

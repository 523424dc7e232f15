import type { CriRuntime, Image, RuntimeStatus, VersionInfo } from '../host/cri/port.ts';
import type { Clock } from '../kit/clock.ts';
import { messageOf } from '../kit/errors.ts';
import { waitAtMost } from './wait-at-most.ts';

/** What the node's status says of the container runtime. */
export interface RuntimeFacts {
  readonly version: VersionInfo | undefined;
  /** What it said last; undefined before the first answer. */
  readonly status: RuntimeStatus | undefined;
  /** Its handlers and features when it was ready last: they do not go while it is not. */
  readonly abilities: Pick<RuntimeStatus, 'runtimeHandlers' | 'supplementalGroupsPolicy'> | undefined;
  readonly images: readonly Image[];
  /** When it last answered that it is ready (Clock.monotonic). */
  readonly readyAt: number | undefined;
  /** Why it does not answer now. */
  readonly error: string | undefined;
}

/** kuberuntime versionCacheTTL, and the image manager's own refresh. */
const VERSION_MS = 60_000;
const IMAGES_MS = 30_000;
/** A runtime that hangs must not hold up the node's heartbeat: what it said last is used meanwhile. */
const PATIENCE_MS = 2000;

/** Asks the runtime for its facts: the status each time, the version each minute, images each half minute. */
export class RuntimeFactsSource {
  private readonly cri: Pick<CriRuntime, 'version' | 'status' | 'listImages'>;
  private readonly clock: Clock;
  private facts: RuntimeFacts = {
    version: undefined,
    status: undefined,
    abilities: undefined,
    images: [],
    readyAt: undefined,
    error: undefined,
  };
  private versionAt = Number.NEGATIVE_INFINITY;
  private imagesAt = Number.NEGATIVE_INFINITY;
  private asking: Promise<void> | undefined;

  constructor(deps: {
    readonly cri: Pick<CriRuntime, 'version' | 'status' | 'listImages'>;
    readonly clock: Clock;
  }) {
    this.cri = deps.cri;
    this.clock = deps.clock;
  }

  /** Never throws, and never waits for long: a runtime that does not answer is a fact. */
  async read(signal?: AbortSignal): Promise<RuntimeFacts> {
    this.asking ??= this.ask().finally(() => {
      this.asking = undefined;
    });
    await waitAtMost(this.asking, PATIENCE_MS, this.clock, signal);
    return this.facts;
  }

  private async ask(): Promise<void> {
    try {
      const status = await this.cri.status();
      const now = this.clock.monotonic();
      const ready = status.conditions.some((condition) => condition.type === 'RuntimeReady' && condition.status);
      const { runtimeHandlers, supplementalGroupsPolicy } = status;
      this.facts = {
        ...this.facts,
        status,
        error: undefined,
        ...(ready ? { readyAt: now, abilities: { runtimeHandlers, supplementalGroupsPolicy } } : {}),
      };
      if (this.facts.version === undefined || now - this.versionAt >= VERSION_MS) {
        this.facts = { ...this.facts, version: await this.cri.version() };
        this.versionAt = now;
      }
      if (now - this.imagesAt >= IMAGES_MS) {
        this.facts = { ...this.facts, images: await this.cri.listImages() };
        this.imagesAt = now;
      }
    } catch (error) {
      this.facts = { ...this.facts, error: messageOf(error) };
    }
  }
}

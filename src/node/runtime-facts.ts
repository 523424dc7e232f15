import type { CriRuntime, Image, RuntimeStatus, VersionInfo } from '../host/cri/port.ts';
import type { Clock } from '../kit/clock.ts';
import { messageOf } from '../kit/errors.ts';

/** What the node's status says of the container runtime. */
export interface RuntimeFacts {
  readonly version: VersionInfo | undefined;
  /** What it said last, for as long as it may be silent. */
  readonly status: RuntimeStatus | undefined;
  readonly images: readonly Image[];
  /** When it last answered (milliseconds since the epoch). */
  readonly answeredAt: number | undefined;
  /** Why it does not answer now. */
  readonly error: string | undefined;
}

/** kuberuntime versionCacheTTL, and the image manager's own refresh. */
const VERSION_MS = 60_000;
const IMAGES_MS = 30_000;

/** Asks the runtime for its facts: the status each time, the version each minute, images each half minute. */
export class RuntimeFactsSource {
  private readonly cri: Pick<CriRuntime, 'version' | 'status' | 'listImages'>;
  private readonly clock: Clock;
  private facts: RuntimeFacts = {
    version: undefined,
    status: undefined,
    images: [],
    answeredAt: undefined,
    error: undefined,
  };
  private versionAt = Number.NEGATIVE_INFINITY;
  private imagesAt = Number.NEGATIVE_INFINITY;

  constructor(deps: {
    readonly cri: Pick<CriRuntime, 'version' | 'status' | 'listImages'>;
    readonly clock: Clock;
  }) {
    this.cri = deps.cri;
    this.clock = deps.clock;
  }

  /** Never throws: a runtime that does not answer is a fact. */
  async read(signal?: AbortSignal): Promise<RuntimeFacts> {
    try {
      const now = this.clock.monotonic();
      const status = await this.cri.status(signal);
      const answeredAt = this.clock.now();
      this.facts = { ...this.facts, status, answeredAt, error: undefined };
      if (this.facts.version === undefined || now - this.versionAt >= VERSION_MS) {
        this.facts = { ...this.facts, version: await this.cri.version(signal) };
        this.versionAt = now;
      }
      if (now - this.imagesAt >= IMAGES_MS) {
        this.facts = { ...this.facts, images: await this.cri.listImages() };
        this.imagesAt = now;
      }
    } catch (error) {
      this.facts = { ...this.facts, error: messageOf(error) };
    }
    return this.facts;
  }
}

import { RetryDelays } from '../../kit/backoff.ts';
import type { Clock } from '../../kit/clock.ts';
import { Emitter, type Unsubscribe } from '../../kit/emitter.ts';
import { CodedError, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import { rfc3339 } from '../../model/time.ts';
import type { CertificateNames } from '../../model/x509/names.ts';
import type { CertificateSource } from '../credentials.ts';
import type { ApiClient } from '../port.ts';
import { type CertificatePair, newKey } from './certificate-pair.ts';
import type { CertificateStore } from './certificate-store.ts';
import { rotationDeadline } from './rotation-deadline.ts';
import { obtainCertificate } from './signing-request.ts';

export interface CertificateManagerOptions {
  readonly signerName: string;
  readonly usages: readonly string[];
  readonly expirationSeconds?: number | undefined;
  /** Used while the store has none; it is replaced at once (kubeadm's first kubelet.conf has such a one). */
  readonly initial?: CertificatePair | undefined;
}

export interface CertificateManagerDeps {
  readonly store: Pick<CertificateStore, 'load' | 'save'>;
  /** Whom to ask for the next certificate; told what is valid now. Undefined: nobody would answer. */
  readonly api: (current: CertificatePair | undefined) => ApiClient | undefined;
  /** What the certificate is to speak for now; undefined: that is not known yet, and none is asked for. */
  readonly names: () => CertificateNames | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random?: () => number;
  readonly onRenewError?: () => void;
  /** Told how old the replaced certificate was, in seconds. */
  readonly onRotated?: (ageSeconds: number) => void;
}

/** One request waits for its certificate for so long; then there is another. */
const WAIT_MS = 15 * 60_000;
/** kubelet: 2 s, doubled, at most 32 s. */
const RETRY = { baseMs: 2000, maxMs: 32_000, jitter: 0.1 } as const;
/** A wall clock may jump over a deadline, and names may change: both are looked at this often, and at `poke`. */
const LOOK_MS = 60_000;
/** A signer whose certificates are due on arrival must not be asked in a tight loop. */
const SHORTEST_MS = 10_000;

type Due = { readonly at: number } | { readonly now: string };

/**
 * Keeps one certificate fresh: a new key and a new request at a moment between 70 and 90 % of its life, or when its
 * names no longer suffice; the old one serves until the new one is on disk. Never gives up.
 */
export class CertificateManager implements CertificateSource {
  private readonly options: CertificateManagerOptions;
  private readonly deps: CertificateManagerDeps;
  private readonly changed: Emitter<void>;
  private pair: CertificatePair | undefined;
  private deadline = 0;
  private forced = false;
  private wake: (() => void) | undefined;
  private toldExpired = false;

  constructor(options: CertificateManagerOptions, deps: CertificateManagerDeps) {
    this.options = options;
    this.deps = deps;
    this.changed = new Emitter((error) => deps.log.error({ error: messageOf(error) }, 'a listener failed'));
  }

  /** Reads what is on disk, so that `current` answers. */
  async load(): Promise<void> {
    const { initial } = this.options;
    const kept = await this.deps.store.load();
    const now = this.deps.clock.now();
    const usable = kept !== undefined && now < kept.notAfter;
    this.forced = !usable;
    const pair = usable ? kept : initial !== undefined && now < initial.notAfter ? initial : kept;
    if (pair === undefined) return;
    this.adopt(pair);
    const [notAfter, renewAt] = [rfc3339(pair.notAfter), this.forced ? 'now' : rfc3339(this.deadline)];
    this.deps.log.info({ notAfter, renewAt }, 'going on with the present certificate');
  }

  /** The newest certificate, even when it has expired: a server that is asked with it says so. */
  current(): CertificatePair | undefined {
    return this.pair;
  }

  subscribe(listener: () => void): Unsubscribe {
    return this.changed.subscribe(listener);
  }

  /** Until the certificate expires (negative: since), in whole seconds; infinite without one. */
  ttlSeconds(): number {
    if (this.pair === undefined) return Number.POSITIVE_INFINITY;
    return Math.trunc((this.pair.notAfter - this.deps.clock.now()) / 1000);
  }

  /** Names may have changed. */
  poke(): void {
    this.wake?.();
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.deps;
    const retry = new RetryDelays({ ...RETRY, ...(this.deps.random && { random: this.deps.random }) });
    while (!signal.aborted) {
      const due = this.due();
      const now = clock.now();
      if (due === undefined || ('at' in due && due.at > now)) {
        await this.sleep(due === undefined ? LOOK_MS : Math.min(due.at - now, LOOK_MS), signal);
        continue;
      }
      try {
        log.info({ why: 'now' in due ? due.now : 'its time has come' }, 'asking for a new certificate');
        await this.rotate(signal);
        retry.reset();
      } catch (error) {
        if (signal.aborted) return;
        this.deps.onRenewError?.();
        this.tellExpiry();
        const delayMs = retry.next();
        log.error({ error: messageOf(error), retryMs: Math.round(delayMs) }, 'no new certificate yet; trying again');
        await this.sleep(delayMs, signal);
      }
    }
  }

  /** When the next certificate is to be asked for; undefined: nothing can be asked for. */
  private due(): Due | undefined {
    const names = this.deps.names();
    if (names === undefined) return undefined;
    if (this.pair === undefined) return { now: 'there is none' };
    if (this.forced) return { now: 'the present one was only to begin with' };
    const missing = missingNames(names, this.pair.names);
    if (missing !== undefined) return { now: missing };
    return { at: this.deadline };
  }

  private async rotate(signal: AbortSignal): Promise<void> {
    const { store, clock, log, names } = this.deps;
    // Somebody else may have renewed it: an operator by hand, or this node's other agent.
    const onDisk = await store.load();
    if (onDisk !== undefined && onDisk.notAfter > clock.now() && onDisk.notAfter > (this.pair?.notAfter ?? 0)) {
      log.info({ notAfter: rfc3339(onDisk.notAfter) }, 'took up a certificate that was put in place');
      this.forced = false;
      this.adopt(onDisk);
      return;
    }
    const wanted = names();
    if (wanted === undefined) return;
    const now = clock.now();
    const valid = this.pair !== undefined && now < this.pair.notAfter ? this.pair : undefined;
    const api = this.deps.api(valid);
    if (api === undefined) throw new CodedError('Unauthorized', 'there are no credentials left to ask with');
    const { signerName, usages, expirationSeconds } = this.options;
    const request = { names: wanted, signerName, usages, expirationSeconds, key: await newKey() };
    const pair = await this.within(WAIT_MS, wanted, signal, (stop) =>
      obtainCertificate(request, { api, clock, log }, stop),
    );
    await store.save(pair, clock.now());
    const previous = this.pair;
    this.forced = false;
    this.adopt(pair);
    if (previous !== undefined) this.deps.onRotated?.((clock.now() - previous.notBefore) / 1000);
    log.info(
      { notAfter: rfc3339(pair.notAfter), renewAt: rfc3339(this.deadline) },
      'a new certificate is in use and on disk',
    );
  }

  private adopt(pair: CertificatePair): void {
    const { random = Math.random, clock } = this.deps;
    const fresh = this.pair !== undefined && this.pair.cert !== pair.cert;
    this.pair = pair;
    this.toldExpired = false;
    this.deadline = rotationDeadline(pair, random());
    if (fresh) this.deadline = Math.max(this.deadline, clock.now() + SHORTEST_MS);
    this.changed.emit();
  }

  /** Waiting ends when the time is over or when what was asked for is no longer what is wanted. */
  private async within<T>(
    limitMs: number,
    asked: CertificateNames,
    signal: AbortSignal,
    run: (stop: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const stop = new AbortController();
    const { clock, names } = this.deps;
    const end = (error: unknown): void => stop.abort(error);
    const onAbort = (): void => end(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const late = clock.after(limitMs, () => {
      end(new CodedError('DeadlineExceeded', `the request was neither approved nor denied within ${limitMs / 1000} s`));
    });
    this.wake = () => {
      const wanted = names();
      const change = wanted === undefined ? undefined : missingNames(wanted, asked);
      if (change !== undefined) end(new CodedError('Aborted', `what was asked for is not enough any more: ${change}`));
    };
    try {
      return await run(stop.signal);
    } catch (error) {
      throw stop.signal.aborted && !signal.aborted ? stop.signal.reason : error;
    } finally {
      this.wake = undefined;
      late.cancel();
      signal.removeEventListener('abort', onAbort);
    }
  }

  private tellExpiry(): void {
    const { pair } = this;
    if (pair === undefined || this.toldExpired || this.deps.clock.now() < pair.notAfter) return;
    this.toldExpired = true;
    const fallback = this.deps.api(undefined) !== undefined;
    this.deps.log.error(
      { notAfter: rfc3339(pair.notAfter) },
      fallback
        ? 'the certificate has expired; going back to the bootstrap credentials for a new one'
        : 'the certificate has expired and there are no bootstrap credentials: put a valid one in place, by hand or with a new bootstrap kubeconfig',
    );
  }

  private async sleep(ms: number, signal: AbortSignal): Promise<void> {
    const wake = new AbortController();
    this.wake = () => wake.abort();
    try {
      await this.deps.clock.sleep(ms, AbortSignal.any([signal, wake.signal]));
    } catch {
      // Woken, or ended: the loop looks which.
    } finally {
      this.wake = undefined;
    }
  }
}

/** What a certificate lacks, in words; more than is wanted does no harm. */
function missingNames(wanted: CertificateNames, has: CertificateNames): string | undefined {
  if (wanted.commonName !== has.commonName) return `its name is ${has.commonName}, expected ${wanted.commonName}`;
  for (const kind of ['organizations', 'dnsNames', 'ipAddresses'] as const) {
    const missing = wanted[kind].filter((name) => !has[kind].includes(name));
    if (missing.length > 0) return `it does not speak for ${missing.join(', ')}`;
  }
  return undefined;
}

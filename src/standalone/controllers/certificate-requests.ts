import type { Clock, Timer } from '../../kit/clock.ts';
import { hasCode, messageOf } from '../../kit/errors.ts';
import { KeyedQueue } from '../../kit/keyed-queue.ts';
import type { Logger } from '../../kit/log.ts';
import type { CertificateSigningRequest } from '../../model/certificates.ts';
import { resources } from '../../model/resource.ts';
import { parseTime, rfc3339 } from '../../model/time.ts';
import type { Authority } from '../certificates/authority.ts';
import { grantOf, isKubeletClientRequest, requestOf, signerObjection } from '../certificates/signers.ts';
import { isAllowed } from '../http/authorize.ts';
import type { Store } from '../port.ts';
import type { Controller } from './port.ts';

export interface CertificateRequestsOptions {
  /** The longest life of what is signed (--cluster-signing-duration). Default a year. */
  readonly lifeMs?: number;
  readonly sweepMs?: number;
}

export interface CertificateRequestsDeps {
  readonly store: Store;
  readonly authority: Pick<Authority, 'sign' | 'notAfter'>;
  readonly clock: Clock;
  readonly log: Logger;
}

const TYPE = resources.certificatesigningrequests;
const YEAR_MS = 365 * 24 * 3600_000;
const HOUR_MS = 3600_000;
const DAY_MS = 24 * HOUR_MS;

/**
 * Approves the client certificates of nodes, signs what is approved and removes what is old: kube-controller-manager's
 * csrapproving, csrsigning and csrcleaner. Everything else waits for `kubectl certificate approve`.
 */
export class CertificateRequests implements Controller {
  private readonly options: CertificateRequestsOptions;
  private readonly deps: CertificateRequestsDeps;
  private readonly queue: KeyedQueue;
  private unsubscribe: (() => void) | undefined;
  private timer: Timer | undefined;
  private sweeping: Promise<void> = Promise.resolve();
  private closed = false;

  constructor(options: CertificateRequestsOptions, deps: CertificateRequestsDeps) {
    this.options = options;
    this.deps = deps;
    this.queue = new KeyedQueue(deps.clock, (name) => this.reconcile(name), {
      retry: { baseMs: 20, maxMs: 10_000 },
      onError: (csr, error) => {
        const expected = hasCode(error, 'Conflict', 'NotFound');
        deps.log[expected ? 'debug' : 'warn']({ csr, error: messageOf(error) }, 'request not signed; retrying');
      },
    });
  }

  start(): void {
    this.unsubscribe = this.deps.store.subscribe(({ resource, object, type }) => {
      if (resource.plural !== TYPE.plural) return;
      const name = object.metadata.name ?? '';
      if (type === 'DELETED') this.queue.forget(name);
      else this.queue.request(name);
    });
    for (const { metadata } of this.deps.store.list(TYPE)) this.queue.request(metadata.name ?? '');
    this.sweeping = this.sweep();
  }

  async close(): Promise<void> {
    this.closed = true;
    this.unsubscribe?.();
    this.timer?.cancel();
    await this.queue.close();
    await this.sweeping;
  }

  private async reconcile(name: string): Promise<undefined> {
    const { store, clock, log } = this.deps;
    const csr = store.get(TYPE, undefined, name) as CertificateSigningRequest | undefined;
    if (csr === undefined || (csr.status?.certificate ?? '') !== '') return undefined;
    const has = (type: string): boolean => csr.status?.conditions?.some((one) => one.type === type) ?? false;
    if (has('Denied') || has('Failed')) return undefined;
    const next = has('Approved') ? this.signed(csr, clock.now()) : this.approved(csr, clock.now());
    if (next === undefined) return undefined;
    await store.update(TYPE, next);
    log.info(
      { csr: name, conditions: next.status?.conditions?.map(({ type }) => type) },
      'certificate request handled',
    );
    return undefined;
  }

  private approved(csr: CertificateSigningRequest, now: number): CertificateSigningRequest | undefined {
    const request = requestOf(csr.spec.request);
    if (!isKubeletClientRequest(csr, request)) return undefined;
    const { username = '', groups = [] } = csr.spec;
    const may = (subresource: string): boolean =>
      isAllowed(
        { username, groups },
        { verb: 'create', group: TYPE.group, resource: TYPE.plural, subresource, namespace: '', name: '' },
      );
    const own = username === request.commonName && may('selfnodeclient');
    if (!own && !may('nodeclient')) return undefined;
    const message = `Auto approving ${own ? 'self ' : ''}kubelet client certificate after SubjectAccessReview.`;
    return withCondition(csr, { type: 'Approved', reason: 'AutoApproved', message }, now);
  }

  private signed(csr: CertificateSigningRequest, now: number): CertificateSigningRequest | undefined {
    const request = requestOf(csr.spec.request);
    const objection = signerObjection(csr, request);
    if (objection === null) return undefined;
    if (objection !== undefined) {
      return withCondition(csr, { type: 'Failed', reason: 'SignerValidationFailure', message: objection }, now);
    }
    const { authority } = this.deps;
    const limits = { lifeMs: this.options.lifeMs ?? YEAR_MS, authorityNotAfter: authority.notAfter };
    const certificate = authority.sign(request, grantOf(csr, limits, now));
    return { ...csr, status: { ...csr.status, certificate: Buffer.from(certificate).toString('base64') } };
  }

  private async sweep(): Promise<void> {
    const { store, clock, log } = this.deps;
    for (const csr of store.list(TYPE) as CertificateSigningRequest[]) {
      if (this.closed) return;
      if (!isOld(csr, clock.now())) continue;
      try {
        await store.remove(TYPE, undefined, csr.metadata.name ?? '');
      } catch (error) {
        if (!hasCode(error, 'NotFound')) log.warn({ error: messageOf(error) }, 'an old request could not be removed');
      }
    }
    if (this.closed) return;
    this.timer = clock.after(this.options.sweepMs ?? HOUR_MS, () => {
      this.sweeping = this.sweep();
    });
  }
}

function withCondition(
  csr: CertificateSigningRequest,
  condition: { readonly type: string; readonly reason: string; readonly message: string },
  now: number,
): CertificateSigningRequest {
  const time = rfc3339(now);
  const full = { ...condition, status: 'True' as const, lastUpdateTime: time, lastTransitionTime: time };
  return { ...csr, status: { ...csr.status, conditions: [...(csr.status?.conditions ?? []), full] } };
}

/** An hour after a verdict, a day without one (controller/certificates/cleaner). */
function isOld(csr: CertificateSigningRequest, now: number): boolean {
  const issued = (csr.status?.certificate ?? '') !== '';
  const conditions = csr.status?.conditions ?? [];
  if (conditions.length === 0) return now - (parseTime(csr.metadata.creationTimestamp) ?? now) > DAY_MS;
  return conditions.some(({ type, lastUpdateTime }) => {
    const age = now - (parseTime(lastUpdateTime) ?? now);
    return age > (type === 'Approved' && !issued ? DAY_MS : HOUR_MS);
  });
}

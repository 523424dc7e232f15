import { createHash, randomBytes } from 'node:crypto';
import type { View } from '../../cluster/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { CodedError } from '../../kit/errors.ts';
import type { ClusterTrustBundle } from '../../model/certificates.ts';
import type { LabelSelector } from '../../model/meta.ts';
import { matchesLabelSelector } from '../../model/selector.ts';

export interface TrustBundlesDeps {
  /** The cluster's bundles, watched from the first question on. */
  readonly view: () => Pick<View<ClusterTrustBundle>, 'synced' | 'whenSynced' | 'get' | 'values'>;
  readonly clock: Pick<Clock, 'after'>;
}

/** How long a pod's volumes wait for the first list. */
const PATIENCE_MS = 10_000;
const PEM = /-----BEGIN ([A-Z0-9 ]+)-----([\s\S]*?)-----END \1-----/g;
const LINE = 64;

/** The certificates of ClusterTrustBundles as pods get them (KEP-3257, kubelet clustertrustbundle_manager.go). */
export class TrustBundles {
  private readonly deps: TrustBundlesDeps;
  /** Nobody shall rely on an order: it is another one in each process. */
  private readonly salt = randomBytes(16);

  constructor(deps: TrustBundlesDeps) {
    this.deps = deps;
  }

  /** PEM text; "" for a bundle that may be missing and is. Throws NotFound, Unavailable. */
  async byName(name: string, optional: boolean): Promise<string> {
    const found = (await this.bundles()).get(name);
    if (found !== undefined) return this.normalized([found]);
    if (optional) return '';
    const why = `while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io "${name}" not found`;
    throw new CodedError('NotFound', why, { bundle: name });
  }

  /** Of all bundles of a signer that the selector fits; none is selected without one. */
  async bySigner(signer: string, selector: LabelSelector | undefined, optional: boolean): Promise<string> {
    const bundles = [...(await this.bundles()).values()].filter(
      ({ spec, metadata }) =>
        spec.signerName === signer && selector !== undefined && matchesLabelSelector(selector, metadata.labels ?? {}),
    );
    if (bundles.length === 0 && !optional) {
      const why = 'combination of signerName and labelSelector matched zero ClusterTrustBundles';
      throw new CodedError('NotFound', why, { signer });
    }
    return this.normalized(bundles);
  }

  private async bundles(): Promise<Pick<View<ClusterTrustBundle>, 'get' | 'values'>> {
    const view = this.deps.view();
    if (view.synced) return view;
    const patience = new AbortController();
    const timer = this.deps.clock.after(PATIENCE_MS, () => patience.abort());
    try {
      await view.whenSynced(patience.signal);
      return view;
    } catch (error) {
      throw new CodedError('Unavailable', 'ClusterTrustBundle informer has not yet synced', {}, error);
    } finally {
      timer.cancel();
    }
  }

  /** Each certificate once, and nothing else that stands in the texts. */
  private normalized(bundles: readonly ClusterTrustBundle[]): string {
    const found = new Set<string>();
    for (const { spec } of bundles) {
      for (const [, , body = ''] of spec.trustBundle.matchAll(PEM)) {
        found.add(Buffer.from(body.replace(/\s/g, ''), 'base64').toString('base64'));
      }
    }
    const place = (text: string): string => createHash('sha256').update(this.salt).update(text).digest('hex');
    const order = [...found].map((text) => [place(text), text] as const).sort(([a], [b]) => (a < b ? -1 : 1));
    return order.map(([, text]) => pemOf(text)).join('');
  }
}

function pemOf(base64: string): string {
  const lines = base64.match(new RegExp(`.{1,${LINE}}`, 'g')) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

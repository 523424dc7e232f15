import type { KubeObject } from '../../model/meta.ts';
import type { ServiceCIDR } from '../../model/objects.ts';
import { resources } from '../../model/resource.ts';
import type { IPFamily } from '../../model/service.ts';
import type { Store } from '../port.ts';
import { AddressRange } from './address-range.ts';

/**
 * Where cluster addresses come from: the configured ranges, and those of the ServiceCIDR objects that are not being
 * deleted, in the order of their names (KEP-1880).
 */
export class ServiceRanges {
  private readonly configured: readonly AddressRange[];
  private readonly objects = new Map<string, readonly AddressRange[]>();
  private readonly unsubscribe: () => void;

  constructor(cidrs: readonly string[], store: Pick<Store, 'list' | 'subscribe'>) {
    this.configured = cidrs.map((text) => new AddressRange(text));
    for (const object of store.list(resources.servicecidrs)) this.follow(object);
    this.unsubscribe = store.subscribe(({ resource, type, object }) => {
      if (resource.plural !== resources.servicecidrs.plural) return;
      if (type === 'DELETED') this.objects.delete(object.metadata.name ?? '');
      else this.follow(object);
    });
  }

  close(): void {
    this.unsubscribe();
  }

  /** Of the cluster's own: an object adds addresses, not families. */
  get families(): readonly IPFamily[] {
    return this.configured.map(({ family }) => family);
  }

  /** The first of the configured. */
  get first(): AddressRange | undefined {
    return this.configured[0];
  }

  /** The configured CIDRs in their one spelling. */
  get texts(): readonly string[] {
    return this.configured.map(({ text }) => text);
  }

  of(family: IPFamily): readonly AddressRange[] {
    const names = [...this.objects.keys()].sort();
    const all = [...this.configured, ...names.flatMap((name) => this.objects.get(name) ?? [])];
    const seen = new Set<string>();
    return all.filter((range) => {
      if (range.family !== family || seen.has(range.text)) return false;
      seen.add(range.text);
      return true;
    });
  }

  private follow(object: KubeObject): void {
    const { metadata, spec } = object as ServiceCIDR;
    const ranges = metadata.deletionTimestamp === undefined ? (spec?.cidrs ?? []) : [];
    this.objects.set(
      metadata.name ?? '',
      ranges.map((text) => new AddressRange(text, 0)),
    );
  }
}

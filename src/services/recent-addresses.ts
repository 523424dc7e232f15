import type { NetPort } from '../host/net/port.ts';
import type { Clock } from '../kit/clock.ts';

/** The node's addresses are asked for anew after this long, in milliseconds. */
const FRESH_MS = 1000;
/** And not for more than one part in so many of the time: a node of many pods has many interfaces. */
const COST_SHARE = 500;

/** The node's addresses as they were a moment ago: each change of a Service needs them, and hardly ever are they others. */
export class RecentAddresses {
  private readonly deps: { readonly net: Pick<NetPort, 'localAddresses'>; readonly clock: Pick<Clock, 'monotonic'> };
  private readonly known = new Map<
    string | undefined,
    { readonly addresses: readonly string[]; readonly until: number }
  >();

  constructor(deps: RecentAddresses['deps']) {
    this.deps = deps;
  }

  /** Without those of one device. */
  get(exceptDevice: string | undefined): readonly string[] {
    const { net, clock } = this.deps;
    const known = this.known.get(exceptDevice);
    const began = clock.monotonic();
    if (known !== undefined && began < known.until) return known.addresses;
    const addresses = net.localAddresses(exceptDevice);
    const until = began + Math.max(FRESH_MS, (clock.monotonic() - began) * COST_SHARE);
    this.known.set(exceptDevice, { addresses, until });
    return addresses;
  }
}

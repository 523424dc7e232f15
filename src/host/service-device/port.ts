import type { IPFamily } from '../../model/service.ts';

/** What a device is that holds the addresses of Services. */
export interface ServiceDevice {
  /** What its alias says of who made it. */
  readonly alias: string;
  /** By family, as the kernel spells them, without prefix lengths; those of the link itself (fe80::/10) left out. */
  readonly addresses: Readonly<Record<IPFamily, readonly string[]>>;
}

/**
 * A dummy network device that makes addresses of Services local, which IPVS needs. It stays down: addresses are local
 * all the same. Throws CodedError: CommandFailed when something is refused.
 */
export interface ServiceDevicePort {
  readonly name: string;
  /** undefined: there is none. */
  read(): Promise<ServiceDevice | undefined>;
  /** Makes the device where there is none, and gives it the alias in any case. */
  ensure(alias: string): Promise<void>;
  /** Adds and removes addresses, all of them although some fail. One that is there already, or gone already, is fine. */
  change(add: readonly string[], remove: readonly string[], signal?: AbortSignal): Promise<void>;
  /**
   * From now on the machine's own connections to these addresses, which are all of one family, come from `source`, an
   * address of the machine, and no longer from the address itself. Those that are open go on, and the addresses stay.
   */
  originateFrom(source: string, addresses: readonly string[]): Promise<void>;
  /** How many connections the machine itself has open that come from one of these addresses; they end with it. */
  originating(addresses: readonly string[]): Promise<number>;
  /** The device with all of its addresses; without one nothing happens. */
  remove(): Promise<void>;
}

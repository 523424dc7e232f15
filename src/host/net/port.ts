/** The network settings of the namespace that this process is in. Throws CodedError. */
export interface NetPort {
  /** Addresses of all interfaces that are up, loopback included; those of one device may be left out. */
  localAddresses(exceptDevice?: string): readonly string[];
  /** A sysctl by its dotted name, trimmed; undefined when this kernel has none of that name. */
  readSysctl(name: string): Promise<string | undefined>;
  /** NotFound when there is none of that name, Forbidden when it cannot be written here. */
  writeSysctl(name: string, value: string): Promise<void>;
}

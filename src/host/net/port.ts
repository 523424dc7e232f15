/** The network settings of the namespace that this process is in. Throws CodedError. */
export interface NetPort {
  /** Addresses of all interfaces, loopback included. */
  localAddresses(): readonly string[];
  /** A sysctl by its dotted name, trimmed; undefined when this kernel has none of that name. */
  readSysctl(name: string): Promise<string | undefined>;
  /** NotFound when there is none of that name, Forbidden when it cannot be written here. */
  writeSysctl(name: string, value: string): Promise<void>;
}

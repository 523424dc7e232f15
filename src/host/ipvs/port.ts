/** A real server of a virtual one; `server` and `real` are spelled as `save` prints them: "-t 10.0.0.1:80", "10.1.0.2:8080". */
export interface OpenConnections {
  readonly server: string;
  readonly real: string;
  readonly weight: number;
  /** Those that something may still be sent on: of TCP, between handshake and the first end. */
  readonly active: number;
  /** Active and inactive ones. */
  readonly connections: number;
}

/**
 * The kernel's virtual servers (IPVS) of both address families, in the network namespace of this process. Throws
 * CodedError: CommandFailed when something is refused, Unavailable when the same call may work later.
 */
export interface IpvsPort {
  /**
   * `ipvsadm -R`: -A, -E and -D for virtual servers, -a, -e and -d for their real ones, a line each. A line that the
   * kernel refuses does not keep those after it from being done; at the end it is CommandFailed.
   */
  restore(text: string, signal?: AbortSignal): Promise<void>;
  /** `ipvsadm -S -n`: all of them, in lines that `restore` takes. */
  save(): Promise<string>;
  /** Real servers and their connections. */
  connections(): Promise<readonly OpenConnections[]>;
  /** Seconds; 0 leaves what the kernel has. */
  setTimeouts(tcp: number, tcpFin: number, udp: number): Promise<void>;
}

/**
 * Block devices of this host. Throws CodedError: NotFound, CommandFailed with the tool's words, DeadlineExceeded,
 * Unavailable (a tool is missing).
 */
export interface BlockDevices {
  /** The loop device that holds this file or device open, if any. */
  loopOf(path: string): Promise<string | undefined>;
  /** Attaches a file or device to a free loop device, which keeps it open; answers the loop device's path. */
  attachLoop(path: string): Promise<string>;
  /** Frees a loop device; one that is free is fine. */
  detachLoop(device: string): Promise<void>;
  /**
   * What is on a device: a filesystem's type, PARTITIONS when it has a partition table, undefined when nothing that is
   * known.
   */
  contents(device: string): Promise<string | undefined>;
  /** Makes a filesystem on a device, whatever was on it. */
  format(device: string, type: string): Promise<void>;
  /** Checks a filesystem and repairs what can be repaired without asking. Throws when more is broken. */
  check(device: string): Promise<void>;
}

/** kubelet's word for what it will not format (mount-utils getDiskFormat). */
export const PARTITIONS = 'unknown data, probably partitions';

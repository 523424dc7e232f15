/** Locks of files between processes, by flock(2), as kubelet's --lock-file takes them. */
export interface LockPort {
  /** Waits for the lock for as long as another process has it. Throws InvalidConfig when the file cannot be opened. */
  acquire(path: string, signal: AbortSignal): Promise<HeldLock>;
}

export interface HeldLock {
  /** Whether another process waits for it. */
  contended(): Promise<boolean>;
  release(): Promise<void>;
}

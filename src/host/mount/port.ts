import type { MountEntry } from './mount-info.ts';

/**
 * The mounts of this process's mount namespace. Targets are absolute, resolved paths. Nothing is canonicalized, so that
 * no call but the mount itself touches a filesystem that may hang, and a source may be a `/proc/PID/fd/N` link.
 * Throws CodedError: NotFound (source or target absent), Conflict (busy), Forbidden, DeadlineExceeded, Unavailable (no
 * mount binary), CommandFailed (mount's own words).
 */
export interface Mounts {
  /** The mount table in mount order; with `below` only what is mounted at that path or under it. */
  list(below?: string): Promise<MountEntry[]>;
  /** Whether the filesystem that a path (without symlinks) lies on depends on a server that may be gone. */
  isRemote(path: string): Promise<boolean>;
  tmpfs(target: string, options: TmpfsOptions): Promise<void>;
  bind(source: string, target: string): Promise<void>;
  /** Makes a bind mount read-only (its filesystem stays as it is). */
  remountReadOnly(target: string): Promise<void>;
  /** Makes `target` a mount whose later mounts reach its peers (MS_SHARED | MS_REC), binding it to itself if need be. */
  shareRecursively(target: string): Promise<void>;
  /**
   * Mounts a filesystem with mount(8), which may call a helper program of the type such as mount.nfs. A failure carries
   * the tool's own words. While one that was given up has not really ended (a server that does not answer), another at
   * the same target is Conflict, so that such processes do not pile up.
   */
  mount(request: MountRequest): Promise<void>;
  /**
   * Takes away the topmost mount at `target`; absent is fine. A mount that is busy or hangs past the deadline is
   * detached lazily when `lazy` is set, and is Conflict or DeadlineExceeded otherwise.
   */
  unmount(target: string, options?: { readonly lazy?: boolean }): Promise<void>;
}

export interface MountRequest {
  /** Such as "nfs"; a source and a target in mount(8)'s terms. */
  readonly type: string;
  readonly source: string;
  readonly target: string;
  readonly options: readonly string[];
  /** Default 10 s. */
  readonly deadlineMs?: number;
}

export interface TmpfsOptions {
  /** Shown in the mount table as source: says whose it is. */
  readonly name: string;
  /** Bytes; absent: the kernel's default, half of the memory. */
  readonly sizeBytes?: number;
  /** Of the root directory. */
  readonly mode: number;
  /** Group of the root directory; absent: root's. */
  readonly gid?: number;
  /** nosuid and nodev: for what containers only read. */
  readonly restricted?: boolean;
}

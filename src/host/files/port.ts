/**
 * Files of this host, asynchronous throughout. Paths are absolute. Throws CodedError: NotFound, AlreadyExists, Conflict
 * (not empty, another mount in the way), InvalidArgument (wrong kind, a symlink where none may be), Forbidden,
 * ResourceExhausted (no space, too many open files), Internal.
 */
export interface Files {
  /** What is at the path itself; undefined when absent. */
  lstat(path: string): Promise<FileInfo | undefined>;
  /** What is behind the path's symlinks; undefined when absent or dangling. */
  stat(path: string): Promise<FileInfo | undefined>;
  /** The path without symlinks. */
  realPath(path: string): Promise<string>;
  /** At most `maxBytes`; with `fromEnd` the last ones. A symlink at the path is refused with `noFollow`. */
  read(path: string, options?: ReadOptions): Promise<Buffer>;
  /** Names in a directory, in no order; undefined when it is absent. */
  list(path: string): Promise<string[] | undefined>;
  /**
   * Makes a directory and missing parents (with `parentMode`, by default 0750). An existing directory stays as it is;
   * returns whether it was made.
   */
  makeDirectory(path: string, mode: number, parentMode?: number): Promise<boolean>;
  /** Makes a directory whose name is `prefix` and six random characters; returns its path. */
  makeTemporaryDirectory(prefix: string, mode: number): Promise<string>;
  /** Makes or overwrites a file in place (its inode stays), with exactly this mode when it is made. */
  write(path: string, data: Buffer | string, mode: number): Promise<void>;
  /** Makes an empty file with exactly this mode; an existing one stays as it is, contents and all. */
  createFile(path: string, mode: number): Promise<void>;
  setMode(path: string, mode: number): Promise<void>;
  /** The path's own owner, not that of what it links to; -1 leaves a number as it is. */
  setOwner(path: string, uid: number, gid: number): Promise<void>;
  symlink(target: string, path: string): Promise<void>;
  /** undefined when absent; InvalidArgument when it is no symlink. */
  readLink(path: string): Promise<string | undefined>;
  /** Atomic; replaces what is at `to`. */
  rename(from: string, to: string): Promise<void>;
  /**
   * Writes a regular file's contents, gzip, to a new file `to` of the same mode, which is replaced when it is there. Reads
   * and writes piece by piece; a symlink at either path is refused (InvalidArgument). `to` is gone again after a failure.
   */
  compress(path: string, to: string): Promise<void>;
  /** Removes one file or symlink; absent is fine. */
  remove(path: string): Promise<void>;
  /** Removes one empty directory; absent is fine; Conflict when it is not empty or is a mount point. */
  removeDirectory(path: string): Promise<void>;
  /** Removes a directory with all in it, following no symlink and entering no other mount (Conflict). Absent is fine. */
  removeTree(path: string): Promise<void>;
  /**
   * Gives a tree to a group as fsGroup wants it: group ownership, group permissions (rw, or r with `readOnly`), setgid
   * directories. With 'OnRootMismatch' a root that fits already ends the walk (kubelet volume_linux.go).
   */
  giveToGroup(path: string, gid: number, options: GroupOptions): Promise<void>;
  /**
   * Opens `relative` below `root` without following any symlink and without "..". Missing directories are made with
   * `createMode` when given; otherwise absence is NotFound. A symlink on the way is InvalidArgument. `root` itself may be
   * reached through symlinks.
   */
  openBeneath(root: string, relative: string, options?: { readonly createMode?: number }): Promise<OpenPath>;
  /**
   * `relative` below `root` with its symlinks resolved, as a path relative to `root` ("" is root). Links may point to
   * places below `root` only (InvalidArgument); nothing outside is touched. A missing tail stays as it is written.
   */
  resolveBeneath(root: string, relative: string): Promise<string>;
  /**
   * Resolves when the path's filesystem answers. Only network and FUSE filesystems are asked, by a process of its own, so
   * that a server that hangs costs no thread of this one. DeadlineExceeded otherwise.
   */
  answers(path: string): Promise<void>;
}

export type FileKind = 'file' | 'directory' | 'symlink' | 'socket' | 'fifo' | 'charDevice' | 'blockDevice';

export interface FileInfo {
  readonly kind: FileKind;
  /** Permission, setuid, setgid and sticky bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly device: number;
  readonly inode: number;
  /** When it was made, milliseconds since the epoch: tells one file from a later one in its place with its inode. */
  readonly bornAt: number;
}

export interface ReadOptions {
  readonly maxBytes?: number;
  readonly fromEnd?: boolean;
  readonly noFollow?: boolean;
}

export interface GroupOptions {
  readonly readOnly: boolean;
  readonly changePolicy: 'Always' | 'OnRootMismatch';
  /** Told after each file and directory. */
  readonly onEntry?: () => void;
  /** Told what could not be changed, such as on a read-only filesystem; the walk goes on. Without it the walk ends there. */
  readonly onFailure?: (error: unknown) => void;
}

/** A file or directory held open: what is behind `path` cannot be exchanged until `close`. */
export interface OpenPath {
  /** `/proc/PID/fd/N`: to be bind-mounted without resolving it. */
  readonly path: string;
  readonly info: FileInfo;
  close(): Promise<void>;
}

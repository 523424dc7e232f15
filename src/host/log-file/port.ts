/** Files that others write to while they are read: the logs of containers. */
export interface LogFiles {
  /** The file behind the path's symlinks. Throws NotFound, and what Files throws. */
  open(path: string): Promise<LogFile>;
  /** The inode that has the path now; undefined: none has. */
  inode(path: string): Promise<bigint | undefined>;
}

/** A file held open: it can be read to its end after its name was given to another, or taken away. */
export interface LogFile {
  readonly inode: bigint;
  /** Bytes it has now. */
  size(): Promise<number>;
  /** Fills `into` from `position` on as far as there is something; returns the number of bytes, 0 at the end. */
  read(into: Buffer, position: number): Promise<number>;
  close(): Promise<void>;
}

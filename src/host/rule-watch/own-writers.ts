/** More than run at the same time, by far; a number that comes back as somebody else's would be taken for ours. */
const REMEMBERED = 32;

/** The processes that write rules for us, by their ids: what they do is no news. */
export class OwnWriters {
  private readonly pids = new Set<number>();

  readonly note = (pid: number): void => {
    this.pids.delete(pid);
    this.pids.add(pid);
    const [oldest = pid] = this.pids;
    if (this.pids.size > REMEMBERED) this.pids.delete(oldest);
  };

  has(pid: number): boolean {
    return this.pids.has(pid);
  }
}

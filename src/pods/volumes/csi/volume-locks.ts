/** Lets work on one volume run one after the other; work on others never waits. */
export class VolumeLocks {
  private readonly last = new Map<string, Promise<unknown>>();

  run<T>(volume: string, work: () => Promise<T>): Promise<T> {
    const mine = (this.last.get(volume) ?? Promise.resolve()).then(work, work);
    const ended = mine.catch(() => {});
    this.last.set(volume, ended);
    void ended.then(() => {
      if (this.last.get(volume) === ended) this.last.delete(volume);
    });
    return mine;
  }
}

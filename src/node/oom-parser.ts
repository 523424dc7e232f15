/** A process that the kernel killed for want of memory. */
export interface OomKill {
  readonly pid: number;
  readonly process: string;
  /** The cgroup that ran out of memory; "/" is the whole machine. */
  readonly cgroup: string;
}

const BEGIN = /invoked oom-killer:/;
/** Linux before 5.0. */
const LIMIT_OF = /Task in (.*) killed as a result of limit of (.*)/;
/** Since 5.0, only when a cgroup's limit was hit: for the whole machine the line has "global_oom" in place of oom_memcg. */
const OF_CGROUP =
  /oom-kill:constraint=(?:.*),nodemask=(?:.*),cpuset=(?:.*),mems_allowed=(?:.*),oom_memcg=(.*),task_memcg=(?:.*),task=(.*),pid=(.*),uid=(?:.*)/;
const KILLED = /Killed process ([0-9]+) \((.+)\)/;

/** Finds the kills for want of memory among the kernel's messages, as cAdvisor's oomparser does. */
export class OomParser {
  /** The cgroup so far of the kill whose lines are coming in. */
  private cgroup: string | undefined;

  /** The next message; answers a kill when its last line is in. */
  take(message: string): OomKill | undefined {
    if (this.cgroup === undefined) {
      if (BEGIN.test(message)) this.cgroup = '/';
      return undefined;
    }
    const ofCgroup = OF_CGROUP.exec(message);
    if (ofCgroup !== null) return this.done(ofCgroup[1], Number(ofCgroup[3]), ofCgroup[2]);
    const limit = LIMIT_OF.exec(message)?.[2];
    if (limit !== undefined) this.cgroup = limit.startsWith('/') ? limit : `/${limit}`;
    const killed = KILLED.exec(message);
    return killed === null ? undefined : this.done(this.cgroup, Number(killed[1]), killed[2]);
  }

  private done(cgroup: string | undefined, pid: number, process: string | undefined): OomKill {
    this.cgroup = undefined;
    return { cgroup: cgroup ?? '/', pid: Number.isNaN(pid) ? 0 : pid, process: process ?? '' };
  }
}

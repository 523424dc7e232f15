/** One mounted cgroup hierarchy. */
export interface CgroupMount {
  readonly mountPoint: string;
  readonly version: 1 | 2;
  /** v1: what is mounted together here, such as cpu and cpuacct, or "name=systemd". */
  readonly controllers: readonly string[];
}

// Options of the mount itself, which stand among the controllers' names (proc_pid_mountinfo(5)).
const OPTIONS: ReadonlySet<string> = new Set([
  'rw',
  'ro',
  'xattr',
  'noprefix',
  'clone_children',
  'none',
  'cpuset_v2_mode',
]);

/** The cgroup hierarchies in /proc/self/mountinfo, each once. */
export function parseCgroupMounts(mountinfo: string): CgroupMount[] {
  const mounts = new Map<string, CgroupMount>();
  for (const line of mountinfo.split('\n')) {
    const separator = line.indexOf(' - ');
    if (separator < 0) continue;
    const mountPoint = line.split(' ')[4];
    const [type, , superOptions = ''] = line.slice(separator + 3).split(' ');
    if (mountPoint === undefined || (type !== 'cgroup' && type !== 'cgroup2')) continue;
    const controllers =
      type === 'cgroup2'
        ? []
        : superOptions.split(',').filter((option) => !OPTIONS.has(option) && !option.startsWith('release_agent='));
    const mount: CgroupMount = {
      mountPoint: unescapeOctal(mountPoint),
      version: type === 'cgroup2' ? 2 : 1,
      controllers,
    };
    // A hierarchy that is mounted twice is still one; the first mount is the usual place.
    const key = type === 'cgroup2' ? 'v2' : controllers.join(',');
    if (!mounts.has(key)) mounts.set(key, mount);
  }
  return [...mounts.values()];
}

/** mountinfo writes blanks and backslashes in octal. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

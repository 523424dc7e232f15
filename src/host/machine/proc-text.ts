/** Parsers of the small texts that the kernel and /etc keep about a machine. All are pure. */

/** Bytes of one line of /proc/meminfo ("MemTotal:  24683024 kB"); 0 when absent. */
export function meminfoBytes(text: string, name: string): number {
  const match = new RegExp(`^${name}:\\s+(\\d+)(?: kB)?$`, 'm').exec(text);
  return match === null ? 0 : Number(match[1]) * 1024;
}

/** Threads of all processes in /proc/loadavg ("0.20 0.18 0.12 1/80 11206"); 0 when it says nothing. */
export function tasksOfLoadavg(text: string): number {
  return Number(/^(?:\S+\s+){3}\d+\/(\d+)\s/.exec(text)?.[1] ?? 0);
}

/** How many numbers a kernel list such as "0-3,8,10-11" holds. */
export function countOfRanges(text: string): number {
  let count = 0;
  for (const range of text.trim().split(',')) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(range);
    if (match !== null) count += Number(match[2] ?? match[1]) - Number(match[1]) + 1;
  }
  return count;
}

/** One value of os-release(5), unquoted. */
export function osReleaseValue(text: string, name: string): string | undefined {
  const match = new RegExp(`^${name}=(.*)$`, 'm').exec(text);
  if (match === null) return undefined;
  const value = (match[1] ?? '').trim();
  const quoted = /^(["'])(.*)\1$/.exec(value);
  return quoted === null ? value : (quoted[2] ?? '').replace(/\\(.)/g, '$1');
}

/** "hugepages-2048kB" → "2Mi"; undefined for anything else. */
export function hugepageSize(directory: string): { readonly size: string; readonly pageBytes: number } | undefined {
  const kib = Number(/^hugepages-(\d+)kB$/.exec(directory)?.[1] ?? Number.NaN);
  if (Number.isNaN(kib)) return undefined;
  const size = kib % 1_048_576 === 0 ? `${kib / 1_048_576}Gi` : kib % 1024 === 0 ? `${kib / 1024}Mi` : `${kib}Ki`;
  return { size, pageBytes: kib * 1024 };
}

/** Interfaces with a default route in /proc/net/route (destination and mask all zero). */
export function defaultInterfaces4(text: string): Set<string> {
  const names = new Set<string>();
  for (const line of text.split('\n').slice(1)) {
    const [name = '', destination, , flags = '0', , , , mask] = line.trim().split(/\s+/);
    // 0x1: the route is up.
    if (destination === '00000000' && mask === '00000000' && (Number.parseInt(flags, 16) & 1) === 1) names.add(name);
  }
  return names;
}

/** Interfaces with a default route in /proc/net/ipv6_route; the reject route on lo is none. */
export function defaultInterfaces6(text: string): Set<string> {
  const names = new Set<string>();
  for (const line of text.split('\n')) {
    const [destination, length, , , , , , , , name] = line.trim().split(/\s+/);
    if (destination === '0'.repeat(32) && length === '00' && name !== undefined && name !== 'lo') names.add(name);
  }
  return names;
}

const ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: 'amd64',
  ia32: '386',
  ppc64: 'ppc64le',
  mipsel: 'mipsle',
};

/** Go's name of what Node calls process.arch. */
export function goArchitecture(nodeArchitecture: string): string {
  return ARCHITECTURES[nodeArchitecture] ?? nodeArchitecture;
}

/** The file names of /proc/swaps, which has a heading. */
export function swapsOf(text: string): readonly string[] {
  return text
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/)[0] ?? '')
    .filter((name) => name !== '');
}

/** The hard limit of "Max open files" in /proc/PID/limits (proc_pid_limits(5)); Infinity: unlimited. */
export function openFilesOf(text: string): number {
  const [, hard] = /^Max open files\s+\S+\s+(\S+)/m.exec(text) ?? [];
  return hard === undefined || hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard);
}

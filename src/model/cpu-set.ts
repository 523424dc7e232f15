/** CPUs as the kernel lists them (cpuset(7)): "0-3,7"; "" for none. */
export function formatCpus(cpus: Iterable<number>): string {
  const sorted = [...new Set(cpus)].sort((a, b) => a - b);
  const parts: string[] = [];
  for (let index = 0; index < sorted.length; ) {
    let end = index;
    while (sorted[end + 1] === (sorted[end] ?? 0) + 1) end++;
    parts.push(end === index ? `${sorted[index]}` : `${sorted[index]}-${sorted[end]}`);
    index = end + 1;
  }
  return parts.join(',');
}

/** undefined: it is no such list. */
export function parseCpus(list: string): Set<number> | undefined {
  const cpus = new Set<number>();
  if (list.trim() === '') return cpus;
  for (const part of list.trim().split(',')) {
    const [, from, to] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part) ?? [];
    if (from === undefined) return undefined;
    const last = Number(to ?? from);
    if (last < Number(from)) return undefined;
    for (let cpu = Number(from); cpu <= last; cpu++) cpus.add(cpu);
  }
  return cpus;
}

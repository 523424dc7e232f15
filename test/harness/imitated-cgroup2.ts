import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { CgroupFiles } from '../../src/host/cgroup/cgroup-files.ts';

/**
 * A directory that behaves like a cgroup v2 mount as far as deckhand uses one (Documentation/admin-guide/cgroup-v2.rst):
 * files come with the directory according to what the parent hands down, writes are checked, rmdir wants it empty. It
 * stands in for the kernel where only cgroup v1 holds the controllers; what it says of the kernel is an imitation.
 */
export class ImitatedCgroup2 implements CgroupFiles {
  readonly root: string;
  private readonly hugepages: readonly string[];

  constructor(root: string, controllers: readonly string[], hugepages: readonly string[] = ['2MB']) {
    this.root = root;
    this.hugepages = hugepages;
    mkdirSync(root, { recursive: true });
    writeFileSync(join(root, 'cgroup.controllers'), `${controllers.join(' ')}\n`);
    writeFileSync(join(root, 'cgroup.subtree_control'), '\n');
    writeFileSync(join(root, 'cgroup.procs'), '');
  }

  /** A process that exists only in cgroup.procs. */
  addProcess(directory: string, pid: number): void {
    if (readFileSync(join(directory, 'cgroup.subtree_control'), 'utf8').trim() !== '') throw errno('EBUSY', directory);
    writeFileSync(join(directory, 'cgroup.procs'), `${readFileSync(join(directory, 'cgroup.procs'), 'utf8')}${pid}\n`);
  }

  /** Memory that is used for a moment in a cgroup counts in all above it. */
  use(directory: string, bytes: number): void {
    for (let at = directory; at !== this.root; at = dirname(at)) {
      const peak = join(at, 'memory.peak');
      writeFileSync(peak, `${Math.max(bytes, Number(readFileSync(peak, 'utf8')))}\n`);
    }
  }

  kill(pid: number): void {
    const walk = (directory: string): void => {
      const procs = join(directory, 'cgroup.procs');
      const left = readFileSync(procs, 'utf8')
        .split('\n')
        .filter((line) => line !== '' && line !== String(pid));
      writeFileSync(procs, left.map((line) => `${line}\n`).join(''));
      for (const name of names(directory)) walk(join(directory, name));
    };
    walk(this.root);
  }

  async mkdir(path: string): Promise<void> {
    mkdirSync(path);
    const given = readFileSync(join(dirname(path), 'cgroup.subtree_control'), 'utf8')
      .trim()
      .split(' ')
      .filter(Boolean);
    const put = (name: string, text: string): void => writeFileSync(join(path, name), `${text}\n`);
    put('cgroup.controllers', given.join(' '));
    put('cgroup.subtree_control', '');
    writeFileSync(join(path, 'cgroup.procs'), '');
    put('cgroup.kill', '');
    if (given.includes('cpu')) {
      put('cpu.weight', '100');
      put('cpu.max', 'max 100000');
    }
    if (given.includes('memory')) {
      put('memory.max', 'max');
      put('memory.current', '0');
      put('memory.peak', '0');
      put('memory.stat', 'anon 0\nfile 0\ninactive_file 0\n');
      put('memory.oom.group', '0');
      put('memory.swap.max', 'max');
    }
    if (given.includes('pids')) put('pids.max', 'max');
    if (given.includes('hugetlb')) {
      for (const size of this.hugepages) {
        put(`hugetlb.${size}.max`, 'max');
        put(`hugetlb.${size}.rsvd.max`, 'max');
      }
    }
  }

  async rmdir(path: string): Promise<void> {
    if (!existsSync(path)) throw errno('ENOENT', path);
    if (names(path).length > 0 || readFileSync(join(path, 'cgroup.procs'), 'utf8') !== '') throw errno('EBUSY', path);
    for (const entry of readdirSync(path)) rmSync(join(path, entry));
    rmdirSync(path);
  }

  async read(path: string): Promise<string> {
    return readFileSync(path, 'utf8');
  }

  async directories(path: string): Promise<string[]> {
    if (!existsSync(path)) throw errno('ENOENT', path);
    return names(path);
  }

  async write(path: string, text: string): Promise<void> {
    if (!existsSync(path)) throw errno('ENOENT', path);
    const directory = dirname(path);
    const file = basename(path);
    switch (file) {
      case 'cgroup.subtree_control':
        this.handDown(directory, text);
        return;
      case 'cgroup.kill':
        if (text !== '1') throw errno('EINVAL', path);
        for (const pid of allProcesses(directory)) this.kill(pid);
        return;
      case 'cpu.weight':
        if (!/^\d+$/.test(text) || Number(text) < 1 || Number(text) > 10_000) throw errno('ERANGE', path);
        break;
      case 'cpu.max': {
        const [, quota = '', period = ''] = /^(max|\d+) (\d+)$/.exec(text) ?? [];
        if (quota !== 'max' && !(Number(quota) >= 1000)) throw errno('EINVAL', path);
        if (!(Number(period) >= 1000 && Number(period) <= 1_000_000)) throw errno('EINVAL', path);
        break;
      }
      case 'memory.max':
      case 'pids.max':
        if (!/^(max|\d+)$/.test(text)) throw errno('EINVAL', path);
        // The kernel rounds memory down to whole pages.
        if (file === 'memory.max' && text !== 'max') {
          writeFileSync(path, `${Number(text) - (Number(text) % 4096)}\n`);
          return;
        }
        break;
      default:
    }
    writeFileSync(path, `${text}\n`);
  }

  private handDown(directory: string, text: string): void {
    const available = readFileSync(join(directory, 'cgroup.controllers'), 'utf8').trim().split(' ');
    const file = join(directory, 'cgroup.subtree_control');
    const given = new Set(readFileSync(file, 'utf8').trim().split(' ').filter(Boolean));
    for (const word of text.split(' ')) {
      if (!word.startsWith('+')) throw errno('EINVAL', file);
      if (!available.includes(word.slice(1))) throw errno('ENOENT', file);
      // No processes in inner cgroups (the root is exempt).
      if (directory !== this.root && readFileSync(join(directory, 'cgroup.procs'), 'utf8') !== '')
        throw errno('EBUSY', file);
      given.add(word.slice(1));
    }
    writeFileSync(file, `${[...given].join(' ')}\n`);
  }
}

function names(path: string): string[] {
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);
}

function allProcesses(directory: string): number[] {
  const here = readFileSync(join(directory, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);
  return [...here, ...names(directory).flatMap((name) => allProcesses(join(directory, name)))];
}

function errno(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}

/** One line of /proc/PID/mountinfo (proc_pid_mountinfo(5)), unescaped. */
export interface MountEntry {
  readonly id: number;
  readonly parentId: number;
  /** "major:minor" */
  readonly device: string;
  /** The directory of the filesystem that forms this mount's root. */
  readonly root: string;
  readonly mountPoint: string;
  /** Per mount, such as "rw,relatime". */
  readonly options: string;
  /** Optional fields, such as "shared:1" or "master:2". */
  readonly propagation: readonly string[];
  readonly type: string;
  readonly source: string;
  /** Per filesystem, such as "rw,size=1024k". */
  readonly superOptions: string;
}

/**
 * Parses a mount table. With `below`, only entries at or under that path; other lines cost one comparison. Lines that
 * are not of the form are left out: the kernel may add kinds, and one odd line must not hide the others.
 */
export function parseMountInfo(text: string, below?: string): MountEntry[] {
  const entries: MountEntry[] = [];
  const prefix = below === undefined || below === '/' ? undefined : ` ${escapePath(below)}`;
  let start = 0;
  while (start < text.length) {
    const newline = text.indexOf('\n', start);
    const end = newline === -1 ? text.length : newline;
    const line = text.slice(start, end);
    start = end + 1;
    if (prefix !== undefined && !line.includes(prefix)) continue;
    const entry = parseLine(line);
    if (entry !== undefined && (prefix === undefined || isAtOrBelow(entry.mountPoint, below ?? '/')))
      entries.push(entry);
  }
  return entries;
}

/** Whether `path` is `directory` or lies in it; both absolute and without "..". */
export function isAtOrBelow(path: string, directory: string): boolean {
  if (directory === '/') return path.startsWith('/');
  return path.startsWith(directory) && (path.length === directory.length || path[directory.length] === '/');
}

function parseLine(line: string): MountEntry | undefined {
  const fields = line.split(' ');
  const separator = fields.indexOf('-', 6);
  const [id, parentId, device, root, mountPoint, options] = fields;
  const type = fields[separator + 1];
  // mount(2) accepts an empty source, which leaves an empty field.
  const source = fields[separator + 2];
  if (separator === -1 || root === undefined || mountPoint === undefined || device === undefined) return undefined;
  if (options === undefined || type === undefined || source === undefined) return undefined;
  const numbers = [Number(id), Number(parentId)] as const;
  if (!Number.isInteger(numbers[0]) || !Number.isInteger(numbers[1]) || !mountPoint.startsWith('/')) return undefined;
  return {
    id: numbers[0],
    parentId: numbers[1],
    device,
    root: unescapePath(root),
    mountPoint: unescapePath(mountPoint),
    options,
    propagation: fields.slice(6, separator),
    type: unescapePath(type),
    source: unescapePath(source),
    superOptions: unescapePath(fields.slice(separator + 3).join(' ')),
  };
}

// The kernel writes space, tab, newline, backslash and (since 6.x) # as three octal digits (fs/proc_namespace.c).
function unescapePath(text: string): string {
  if (!text.includes('\\')) return text;
  return text.replace(/\\([0-3][0-7]{2})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** The spelling of a path in mountinfo; "#" is left as it is, for most kernels do. */
function escapePath(path: string): string {
  // Up to the first "#" the two spellings agree, and a prefix is enough to choose lines by.
  const hash = path.indexOf('#');
  const certain = hash === -1 ? path : path.slice(0, hash);
  return certain.replace(/[ \t\n\\]/g, (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`);
}

import { CodedError } from '../../kit/errors.ts';
import type { FileInfo } from './port.ts';

// path_resolution(7): Linux gives up after 40 links.
const LINKS = 40;

interface Reader {
  lstat(path: string): Promise<FileInfo | undefined>;
  readLink(path: string): Promise<string | undefined>;
}

/**
 * Resolves symlinks of `relative` within `root`, looking only at paths below `root`. An absolute target counts when it
 * spells a place below `root`. See Files.resolveBeneath.
 */
export async function resolveBeneath(reader: Reader, root: string, relative: string): Promise<string> {
  const done: string[] = [];
  let rest = partsOf(relative);
  let links = 0;
  while (rest.length > 0) {
    const part = rest[0] ?? '';
    rest = rest.slice(1);
    if (part === '..') {
      if (done.pop() === undefined) throw leaves(root, relative);
      continue;
    }
    const path = [root, ...done, part].join('/');
    const info = await reader.lstat(path);
    if (info === undefined) return [...done, part, ...rest].join('/');
    if (info.kind !== 'symlink') {
      done.push(part);
      continue;
    }
    if (++links > LINKS) {
      throw new CodedError('InvalidArgument', `${root}/${relative}: more than ${LINKS} symlinks`, { root, relative });
    }
    const target = (await reader.readLink(path)) ?? '';
    if (target.startsWith('/')) {
      if (target !== root && !target.startsWith(`${root}/`)) throw leaves(root, relative);
      done.length = 0;
      rest = [...partsOf(target.slice(root.length)), ...rest];
    } else {
      rest = [...partsOf(target), ...rest];
    }
  }
  return done.join('/');
}

export function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

function leaves(root: string, relative: string): CodedError {
  return new CodedError('InvalidArgument', `${relative} leads out of ${root}; it must stay below it`, {
    root,
    relative,
  });
}

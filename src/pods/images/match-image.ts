interface ImageUrl {
  /** The host's labels, split at dots. */
  readonly parts: readonly string[];
  readonly port: string;
  readonly path: string;
}

/**
 * Whether an image (registry, optional port, path; no scheme) is meant by a pattern: same port, as many host labels of
 * which each matches its glob (`*`, `?`, `[a-z]`), and a path that begins with the pattern's. `*.example.com` does not mean
 * `a.b.example.com` (pkg/credentialprovider URLsMatchStr). A pattern that makes no sense means nothing.
 */
export function matchesImage(pattern: string, image: string): boolean {
  const glob = parseImageUrl(pattern);
  const target = parseImageUrl(image);
  if (glob === undefined || target === undefined) return false;
  if (glob.port !== target.port || glob.parts.length !== target.parts.length) return false;
  if (!target.path.startsWith(glob.path)) return false;
  return glob.parts.every((part, index) => globRegExp(part)?.test(target.parts[index] ?? '') === true);
}

/** Splits "host[:port][/path]" as a URL without its scheme; undefined when it is none. */
export function parseImageUrl(text: string): ImageUrl | undefined {
  const [, authority = '', rawPath = ''] = /^([^/?#]*)([^?#]*)/.exec(text) ?? [];
  const host = authority.slice(authority.lastIndexOf('@') + 1);
  const [, name = '', port] = /^(\[[^\]]*\]|[^:]*)(?::([0-9]*))?$/.exec(host) ?? [];
  if (host !== '' && name === '' && port === undefined) return undefined;
  if (/[\s"<>^`{}|\\%]/.test(name)) return undefined;
  const bare = port !== undefined && name.startsWith('[') ? name.slice(1, -1) : name;
  try {
    return { parts: bare.split('.'), port: port ?? '', path: decodeURIComponent(rawPath) };
  } catch {
    return undefined;
  }
}

/** A shell glob for text without slashes (Go filepath.Match); undefined when it is malformed. */
function globRegExp(glob: string): RegExp | undefined {
  let source = '';
  for (let at = 0; at < glob.length; at++) {
    const character = glob.charAt(at);
    if (character === '*') source += '.*';
    else if (character === '?') source += '.';
    else if (character === '[') {
      const end = glob.indexOf(']', at + 2);
      if (end === -1) return undefined;
      const [, not = '', members = ''] = /^(\^?)(.*)$/s.exec(glob.slice(at + 1, end)) ?? [];
      if (members === '') return undefined;
      source += `[${not}${members.replace(/[\\\]^[]/g, '\\$&')}]`;
      at = end;
    } else source += character.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  }
  try {
    return new RegExp(`^${source}$`, 's');
  } catch {
    return undefined;
  }
}

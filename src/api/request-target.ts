/** What a request asks for, its path decoded and without "." and "..", so that all that follows judges one text. */
export interface RequestTarget {
  readonly path: string;
  readonly query: URLSearchParams;
  /** Set when the path was not written in its plainest form: where the caller is to go instead (as Go's ServeMux says). */
  readonly moved: string | undefined;
}

/** undefined: no target of a request (RFC 9112, 3.2) that a server could answer. */
export function parseTarget(url: string): RequestTarget | undefined {
  // The absolute form names this server in front.
  const relative = url.replace(/^https?:\/\/[^/?#]*/i, '');
  const at = relative.indexOf('?');
  const raw = at < 0 ? relative : relative.slice(0, at);
  const search = at < 0 ? '' : relative.slice(at + 1);
  if (!raw.startsWith('/') || raw.includes('#')) return undefined;
  let path: string;
  try {
    path = decodeURIComponent(raw);
  } catch {
    return undefined;
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
  if (/[\x00-\x1f\x7f]/.test(path)) return undefined;
  const clean = cleaned(path);
  const moved = clean === path ? undefined : `${encodePath(clean)}${search === '' ? '' : `?${search}`}`;
  return { path: clean, query: new URLSearchParams(search), moved };
}

/** Go's path.Clean, but a slash at the end stays. */
function cleaned(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  const end = parts.length > 0 && path.endsWith('/') ? '/' : '';
  return `/${parts.join('/')}${end}`;
}

function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}

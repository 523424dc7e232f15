import type { Files } from '../../host/files/port.ts';
import type { LogFiles } from '../../host/log-file/port.ts';
import { drained } from '../../kit/drained.ts';
import { hasCode } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import { type Exchange, sendText } from '../router.ts';

export interface ServeSystemLogsDeps {
  readonly files: Pick<Files, 'resolveBeneath' | 'openBeneath' | 'list' | 'lstat'>;
  readonly contents: Pick<LogFiles, 'open'>;
  /** /var/log */
  readonly directory: string;
  readonly log: Pick<Logger, 'debug'>;
}

const BLOCK = 65_536;

/**
 * /logs/PATH: files of /var/log. Links are followed as long as they stay below it: whoever may put a link there (a pod that
 * mounts the directory) must not read the rest of the host by it.
 */
export async function serveSystemLogs({ request, response, path }: Exchange, deps: ServeSystemLogsDeps): Promise<void> {
  const { files, directory } = deps;
  const relative = path.replace(/^\/logs\/?/, '');
  try {
    const resolved = await files.resolveBeneath(directory, relative);
    const opened = resolved === '' ? undefined : await files.openBeneath(directory, resolved);
    try {
      const kind = opened === undefined ? 'directory' : opened.info.kind;
      if (kind === 'directory') {
        if (!path.endsWith('/')) {
          response.setHeader('location', `${encodeURI(path)}/`);
          return sendText(response, 301, 'Moved Permanently\n');
        }
        const names = (await files.list(opened?.path ?? directory)) ?? [];
        return sendText(
          response,
          200,
          await listing(names, opened?.path ?? directory, deps),
          'text/html; charset=utf-8',
        );
      }
      if (kind !== 'file' || opened === undefined) return sendText(response, 403, '403 Forbidden\n');
      const { size } = opened.info;
      response.writeHead(200, {
        'content-type': 'text/plain; charset=utf-8',
        'content-length': size,
        'x-content-type-options': 'nosniff',
      });
      const sink = async (chunk: Buffer): Promise<void> => {
        if (!response.write(chunk)) await drained(response);
      };
      if (request.method !== 'HEAD') await copyLogFile(deps, opened.path, size, sink);
      response.end();
    } finally {
      await opened?.close();
    }
  } catch (error) {
    if (response.headersSent) response.destroy();
    else if (hasCode(error, 'Forbidden', 'InvalidArgument')) sendText(response, 403, '403 Forbidden\n');
    else if (hasCode(error, 'NotFound')) sendText(response, 404, '404 page not found\n');
    else throw error;
  }
}

/** Its first `size` bytes: what is written to the file meanwhile is not part of the answer. */
export async function copyLogFile(
  { contents }: Pick<ServeSystemLogsDeps, 'contents'>,
  path: string,
  size: number,
  sink: (chunk: Buffer) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  const file = await contents.open(path);
  try {
    const block = Buffer.allocUnsafe(BLOCK);
    for (let at = 0; at < size; ) {
      signal?.throwIfAborted();
      const length = await file.read(block.subarray(0, Math.min(BLOCK, size - at)), at);
      if (length === 0) throw new Error(`${path} became shorter while it was read`);
      at += length;
      await sink(Buffer.from(block.subarray(0, length)));
    }
  } finally {
    await file.close();
  }
}

async function listing(names: readonly string[], at: string, { files }: ServeSystemLogsDeps): Promise<string> {
  const lines: string[] = [];
  for (const name of [...names].sort()) {
    const slash = (await files.lstat(`${at}/${name}`))?.kind === 'directory' ? '/' : '';
    lines.push(`<a href="${encodeURIComponent(name)}${slash}">${escapeHtml(name)}${slash}</a>\n`);
  }
  return `<!doctype html>\n<meta name="viewport" content="width=device-width">\n<pre>\n${lines.join('')}</pre>\n`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (one) => `&#${one.charCodeAt(0)};`);
}

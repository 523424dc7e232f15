import { existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand, tryCommand } from './run-command.ts';

const CACHE = process.env['DECKHAND_TOOLS_CACHE'] ?? '/var/cache/deckhand-tools';
const PACKAGE = 'prometheus';

/**
 * Where Debian's promtool is. Its package (prometheus) brings a service and a web interface along: unless it is installed,
 * only promtool is taken out of it and kept in `/var/cache/deckhand-tools`. `missing`: why it cannot be had.
 */
export async function promtool(): Promise<{ readonly path: string } | { readonly missing: string }> {
  const installed = (await tryCommand(['sh', '-c', 'command -v promtool'])).stdout.trim();
  if (installed !== '') return { path: installed };
  const path = join(CACHE, 'promtool');
  if (existsSync(path)) return { path };
  await runCommand(['mkdir', '-p', CACHE]);
  // Whoever is first is right: the name appears with all of the file behind it.
  const folder = mkdtempSync(join(CACHE, 'unpack-'));
  try {
    const download = () => tryCommand(['apt-get', '-qq', 'download', PACKAGE], { cwd: folder, timeoutMs: 120_000 });
    let got = await download();
    if (got.code !== 0) {
      // The lists may be older than the archive.
      await tryCommand(['apt-get', '-qq', 'update'], { timeoutMs: 120_000 });
      got = await download();
    }
    if (got.code !== 0) return { missing: `apt-get download ${PACKAGE}: ${got.stderr.trim().split('\n').at(-1)}` };
    await runCommand(['sh', '-c', 'dpkg-deb --fsys-tarfile ./*.deb | tar -x ./usr/bin/promtool'], { cwd: folder });
    renameSync(join(folder, 'usr/bin/promtool'), path);
    return { path };
  } catch (error) {
    return { missing: `promtool of Debian's ${PACKAGE}: ${error instanceof Error ? error.message : error}` };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

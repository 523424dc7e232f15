import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ociImage } from './oci-image.ts';
import { projectRoot } from './project-root.ts';
import type { TarEntry } from './tar-archive.ts';

/** The sandbox image: sleeps, reaps orphans (a shared PID namespace makes it their parent), ends on SIGTERM. */
export const PAUSE_IMAGE = 'deckhand.local/pause:1';
/** All of busybox; runs a shell. */
export const BUSYBOX_IMAGE = 'deckhand.local/busybox:1';
/**
 * A web server on $PORT (8080). `/` answers $POD_NAME, else the hostname, on one line; `/healthz` and `/readyz` answer
 * 200. By request: `/cgi-bin/fail` and `/cgi-bin/recover` switch `/readyz` to 404 and back, `/cgi-bin/sicken` and
 * `/cgi-bin/heal` do so to `/healthz`, `/cgi-bin/exit?3` ends the container with that code, `/cgi-bin/eat?64` takes that
 * many MiB for a moment, `/cgi-bin/env` shows the environment, `/cgi-bin/client` the address the request came from,
 * `/cgi-bin/slow?2` answers after so many seconds. $START_DELAY seconds pass before it listens.
 */
export const WEB_IMAGE = 'deckhand.local/web:1';

export interface ImageArchive {
  readonly reference: string;
  readonly path: string;
}

const PAUSE_SCRIPT = "trap 'exit 0' TERM INT; while :; do sleep 2147483 & wait $!; done";

const WEB_SCRIPT = `#!/bin/sh
printf '%s\\n' "\${POD_NAME:-$(hostname)}" > /www/index.html
echo ok > /www/healthz
echo ok > /www/readyz
trap 'exit 0' TERM INT
trap 'exit "$(cat /tmp/exit-code)"' USR1
sleep "\${START_DELAY:-0}" & wait $!
httpd -f -p "\${PORT:-8080}" -h /www &
wait $!
`;

const cgi = (body: string): string => `#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\n${body}\n`;

const CGI_SCRIPTS: Readonly<Record<string, string>> = {
  fail: cgi('rm -f /www/readyz; echo "readyz is 404 now"'),
  recover: cgi('echo ok > /www/readyz; echo "readyz is 200 now"'),
  sicken: cgi('rm -f /www/healthz; echo "healthz is 404 now"'),
  heal: cgi('echo ok > /www/healthz; echo "healthz is 200 now"'),
  exit: cgi('echo "$QUERY_STRING" > /tmp/exit-code; echo "good bye"; kill -USR1 1'),
  eat: cgi('dd if=/dev/zero of=/dev/null bs="$QUERY_STRING"M count=1 2>&1; echo "dd ended with $?"'),
  env: cgi('env'),
  client: cgi('echo "$REMOTE_ADDR"'),
  slow: cgi('sleep "$QUERY_STRING"; echo "after $QUERY_STRING s"'),
};

function busyboxTree(busybox: Buffer, applets: readonly string[]): TarEntry[] {
  return [
    { type: 'directory', path: 'bin' },
    { type: 'file', path: 'bin/busybox', mode: 0o755, content: busybox },
    ...applets
      .filter((name) => name !== 'busybox')
      .map((name): TarEntry => ({ type: 'symlink', path: `bin/${name}`, target: 'busybox' })),
    { type: 'directory', path: 'dev' },
    { type: 'directory', path: 'etc' },
    {
      type: 'file',
      path: 'etc/passwd',
      content:
        'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\nweb:x:1000:1000:web:/:/bin/sh\n',
    },
    { type: 'file', path: 'etc/group', content: 'root:x:0:\nnogroup:x:65534:\nweb:x:1000:\n' },
    { type: 'directory', path: 'proc' },
    { type: 'directory', path: 'root', mode: 0o700 },
    { type: 'directory', path: 'sys' },
    { type: 'directory', path: 'tmp', mode: 0o1777 },
  ];
}

function webTree(): TarEntry[] {
  return [
    { type: 'file', path: 'bin/web', mode: 0o755, content: WEB_SCRIPT },
    { type: 'directory', path: 'www', mode: 0o1777 },
    { type: 'directory', path: 'www/cgi-bin' },
    ...Object.entries(CGI_SCRIPTS).map(
      ([name, content]): TarEntry => ({ type: 'file', path: `www/cgi-bin/${name}`, mode: 0o755, content }),
    ),
  ];
}

/**
 * Makes the three images from Debian's busybox-static (no registry is asked) and returns their archives. Archives are
 * kept under `cacheDir` by a hash of what goes into them, so that a second call only looks.
 */
export function buildImages(cacheDir: string = join(projectRoot(), 'dist', 'images')): ImageArchive[] {
  const path = ['/bin/busybox', '/usr/bin/busybox'].find(existsSync);
  if (path === undefined) throw new Error('no /bin/busybox: install the Debian package busybox-static');
  const busybox = readFileSync(path);
  if (busybox.includes('/lib64/ld-linux')) {
    throw new Error(`${path} is linked dynamically: install the Debian package busybox-static`);
  }
  const recipe = JSON.stringify([PAUSE_SCRIPT, WEB_SCRIPT, CGI_SCRIPTS, 'layout 1', process.arch]);
  const key = createHash('sha256').update(busybox).update(recipe).digest('hex').slice(0, 16);
  const archives = [PAUSE_IMAGE, BUSYBOX_IMAGE, WEB_IMAGE].map((reference) => ({
    reference,
    path: join(cacheDir, `${reference.replace(/^.*\//, '').replace(':', '-')}-${key}.tar`),
  }));
  if (archives.every((archive) => existsSync(archive.path))) return archives;

  mkdirSync(cacheDir, { recursive: true });
  const applets = execFileSync(path, ['--list'], { encoding: 'utf8' }).split('\n').filter(Boolean);
  const base = busyboxTree(busybox, applets);
  const minimal: TarEntry[] = [
    { type: 'directory', path: 'bin' },
    { type: 'file', path: 'bin/sh', mode: 0o755, content: busybox },
    { type: 'symlink', path: 'bin/sleep', target: 'sh' },
  ];
  const environment = ['PATH=/bin'];
  const images: Readonly<Record<string, Buffer>> = {
    [PAUSE_IMAGE]: ociImage(PAUSE_IMAGE, minimal, {
      Entrypoint: ['/bin/sh', '-c', PAUSE_SCRIPT],
      Env: environment,
      User: '65535:65535',
    }),
    [BUSYBOX_IMAGE]: ociImage(BUSYBOX_IMAGE, base, { Cmd: ['/bin/sh'], Env: environment }),
    [WEB_IMAGE]: ociImage(WEB_IMAGE, [...base, ...webTree()], {
      Entrypoint: ['/bin/web'],
      Env: environment,
      ExposedPorts: { '8080/tcp': {} },
    }),
  };
  for (const archive of archives) {
    const temporary = `${archive.path}.${process.pid}`;
    writeFileSync(temporary, images[archive.reference] ?? Buffer.alloc(0));
    renameSync(temporary, archive.path);
  }
  return archives;
}

import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from '../harness/run-command.ts';

// A root directory of its own for dpkg, with the shell that maintainer scripts ask for and a systemctl that writes down
// what it is told: real packages, real scripts, in a chroot.
const SYSTEMCTL = '#!/bin/sh\necho "$*" >> /systemctl.log\n';

describe('the Debian package', () => {
  let root: string;
  let debs: string;

  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), 'deckhand-dpkg-'));
    debs = mkdtempSync(join(tmpdir(), 'deckhand-debs-'));
    for (const path of ['bin', 'var/lib/dpkg/updates', 'var/lib/dpkg/info', 'run/systemd/system', 'tmp']) {
      mkdirSync(join(root, path), { recursive: true });
    }
    writeFileSync(join(root, 'var/lib/dpkg/status'), '');
    const busybox = ['/bin/busybox', '/usr/bin/busybox'].find((path) => existsSync(path)) ?? '';
    for (const name of ['sh', 'rm', 'echo']) await runCommand(['cp', busybox, join(root, 'bin', name)]);
    writeFileSync(join(root, 'bin/systemctl'), SYSTEMCTL, { mode: 0o755 });
    for (const version of ['0.1.0', '0.1.1']) {
      await runCommand(['node', 'scripts/package.mjs', '--output', debs, '--version', version]);
    }
  });

  afterAll(() => {
    for (const directory of [root, debs]) rmSync(directory, { recursive: true, force: true });
  });

  const dpkg = (...args: string[]): Promise<string> =>
    runCommand(['dpkg', `--root=${root}`, '--force-depends', '--force-confold', ...args]);
  const told = (): string[] => {
    const log = join(root, 'systemctl.log');
    if (!existsSync(log)) return [];
    const lines = readFileSync(log, 'utf8').trim().split('\n');
    rmSync(log);
    return lines;
  };
  const install = (version: string): Promise<string> => dpkg('-i', join(debs, `deckhand_${version}_all.deb`));

  it('is the same, byte for byte, when it is built again', async () => {
    const file = join(debs, 'deckhand_0.1.0_all.deb');
    const before = readFileSync(file);
    await runCommand(['node', 'scripts/package.mjs', '--output', debs, '--version', '0.1.0']);
    expect(readFileSync(file).equals(before)).toBe(true);
  });

  it('installs and says how to start the service, which it does not start', async () => {
    expect(await install('0.1.0')).toContain('systemctl enable --now deckhand');
    expect(told()).toEqual(['daemon-reload']);
    const bundle = join(root, 'usr/lib/deckhand/deckhand.mjs');
    expect((await runCommand(['node', bundle, 'version'])).trim()).toMatch(/^deckhand \d/);
    // What the package configures is valid, in its own words.
    const arguments_ =
      /^DECKHAND_ARGS=(.*)$/m.exec(readFileSync(join(root, 'etc/default/deckhand'), 'utf8'))?.[1] ?? '';
    expect(arguments_).toContain('--config /etc/deckhand/config.yaml');
    const words = arguments_.split(' ').map((word) => (word.startsWith('/') ? join(root, word) : word));
    await runCommand(['node', bundle, 'config', 'check', ...words]);
    for (const path of ['bin/deckhand', 'share/man/man8/deckhand.8.gz', 'lib/systemd/system/deckhand.service']) {
      expect(existsSync(join(root, 'usr', path)), path).toBe(true);
    }
    const completion = join(root, 'usr/share/bash-completion/completions/deckhand');
    const asked = `source ${completion}; COMP_WORDS=(deckhand run --kubec); COMP_CWORD=2; _deckhand; echo "\${COMPREPLY[@]}"`;
    expect((await runCommand(['bash', '-c', asked])).trim()).toBe('--kubeconfig');
  });

  it('upgrades in place: what runs is restarted, never stopped; changed configuration stays', async () => {
    appendFileSync(join(root, 'etc/default/deckhand'), '# mine\n');
    await install('0.1.1');
    expect(told()).toEqual(['daemon-reload', 'daemon-reload', 'try-restart deckhand.service']);
    expect(readFileSync(join(root, 'etc/default/deckhand'), 'utf8')).toContain('# mine');
  });

  it('is removed without its configuration, and purged with it and its state', async () => {
    mkdirSync(join(root, 'var/lib/deckhand'), { recursive: true });
    writeFileSync(join(root, 'etc/deckhand/manifests/mine.yaml'), '');
    await dpkg('--remove', 'deckhand');
    expect(told()).toEqual(['disable --now deckhand.service', 'daemon-reload']);
    expect(existsSync(join(root, 'usr/lib/deckhand'))).toBe(false);
    expect(existsSync(join(root, 'etc/deckhand/config.yaml'))).toBe(true);
    await dpkg('--purge', 'deckhand');
    expect(existsSync(join(root, 'etc/deckhand'))).toBe(false);
    expect(existsSync(join(root, 'var/lib/deckhand'))).toBe(false);
    expect(readdirSync(root).sort()).toEqual(['bin', 'run', 'systemctl.log', 'tmp', 'var']);
  });
});

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { configCheck } from '../../../src/commands/config-check.ts';
import { addConfigOptions } from '../../../src/commands/flag-options.ts';
import { flags, flagsHelp } from '../../../src/config/flags.ts';

function parse(...argv: string[]): readonly string[] {
  const command = addConfigOptions(new Command('run').exitOverride());
  command.configureOutput({ writeErr: () => {}, writeOut: () => {} });
  command.parse(argv, { from: 'user' });
  return command.args;
}

describe('flags on the command line', () => {
  test.each([
    ['--max-pods', '3', '-v4', '--masquerade-all'],
    ['stray', '--unknown', 'x', '--config=a', '-c', 'b'],
    ['--pod-max-pids', '-1'],
  ])('commander hands them on as they are: %j', (...argv) => {
    expect(parse(...argv)).toEqual(argv);
  });

  test('--help shows each flag that has an effect, by group, and no line is overlong', () => {
    const help = flagsHelp();
    for (const flag of flags) expect(help.includes(`\n  --${flag.name} `)).toBe(flag.help !== undefined);
    expect(help.match(/^[A-Z].*:$/gm)?.length).toBe(9);
    for (const line of help.split('\n')) expect(line.length).toBeLessThan(125);
  });
});

describe('config check', () => {
  const dir = mkdtempSync(join(tmpdir(), 'dhclu-check-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  let out = '';
  let err = '';
  beforeEach(() => {
    out = '';
    err = '';
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      out += String(text);
      return true;
    });
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      err += String(text);
      return true;
    });
  });
  afterEach(() => vi.restoreAllMocks());

  test('answers 1 and every mistake, or 0 and warnings', async () => {
    const bad = join(dir, 'bad.yaml');
    writeFileSync(bad, 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: x\nprot: 1\n');
    expect(await configCheck(['--config', bad], { output: 'yaml' })).toBe(1);
    expect(err.split('\n').filter((line) => line.startsWith('error: '))).toHaveLength(2);
    expect(out).toBe('');
    const good = join(dir, 'good.yaml');
    writeFileSync(good, 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxOpenFiles: 5\n');
    expect(await configCheck([`--config=${good}`, '--kernel-memcg-notification'], { output: 'yaml' })).toBe(0);
    expect(parseAllDocuments(out).map((document) => document.toJS())).toMatchObject([
      { apiVersion: 'kubelet.config.k8s.io/v1beta1', kind: 'KubeletConfiguration', maxOpenFiles: 5, maxPods: 110 },
      { apiVersion: 'kubeproxy.config.k8s.io/v1alpha1', kind: 'KubeProxyConfiguration' },
      { apiVersion: 'deckhand.dev/v1alpha1', kind: 'DeckhandConfiguration', rootDir: '/var/lib/kubelet' },
    ]);
    expect(err.split('\n').filter((line) => line !== '' && !line.startsWith('error: '))).toEqual([
      'warning: --kernel-memcg-notification: is true: it is known, but not yet honoured',
    ]);
  });

  test('--output json is one list', async () => {
    expect(await configCheck(['--max-pods=7', '--hostname-override', 'n'], { output: 'json' })).toBe(0);
    expect(JSON.parse(out)).toMatchObject([{ maxPods: 7 }, {}, { hostnameOverride: 'n' }]);
  });
});

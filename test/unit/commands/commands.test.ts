import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { configCheck } from '../../../src/commands/config-check.ts';
import { addConfigOptions, configSources } from '../../../src/commands/flag-options.ts';
import { flags } from '../../../src/config/flags.ts';
import { loadConfig } from '../../../src/config/load-config.ts';

function parse(...argv: string[]): ReturnType<typeof configSources> {
  const command = addConfigOptions(new Command('run').exitOverride());
  command.configureOutput({ writeErr: () => {} });
  command.parse(argv, { from: 'user' });
  return configSources(command.opts());
}

describe('flags on the command line', () => {
  test('every flag arrives under its own name', () => {
    const samples = {
      text: '/x',
      integer: '7',
      boolean: 'false',
      list: '10.0.0.1',
      labels: 'a=b',
      taints: 'a:NoSchedule',
    };
    const argv = flags.flatMap((flag) => [`--${flag.name}`, samples[flag.as]]);
    const given = parse(...argv).flags;
    for (const flag of flags) expect(given[flag.name]).toBe(samples[flag.as]);
  });

  test('switches may stand alone, values may follow an equals sign, --config may come again', async () => {
    expect(parse('--masquerade-all', '--cgroups-per-qos=false', '-c', 'a', '--config', 'b')).toEqual({
      files: ['a', 'b'],
      flags: { 'masquerade-all': true, 'cgroups-per-qos': 'false' },
    });
    const { flags: given } = parse('--masquerade-all', '--v=4', '--hostname-override', 'n');
    const { config } = await loadConfig({ files: [], flags: given });
    expect(config.services.masqueradeAll).toBe(true);
    expect(config.log.verbosity).toBe(4);
  });

  test('an unknown flag is refused with a suggestion', () => {
    expect(() => parse('--max-podz', '3')).toThrow(/--max-podz.*\n?.*--max-pods/);
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
    expect(await configCheck({ files: [bad], flags: {} }, false)).toBe(1);
    expect(err.split('\n').filter((line) => line.startsWith('error: '))).toHaveLength(2);
    expect(out).toBe('');
    const good = join(dir, 'good.yaml');
    writeFileSync(good, 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxOpenFiles: 5\n');
    expect(await configCheck({ files: [good], flags: { 'hostname-override': 'n' } }, false)).toBe(0);
    expect(out).toBe('configuration is valid, 1 warning\n');
    expect(err).toContain('warning: ');
  });

  test('--print shows the whole configuration', async () => {
    expect(await configCheck({ files: [], flags: { 'max-pods': '7', 'hostname-override': 'n' } }, true)).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ nodeName: 'n', pods: { maxPods: 7 } });
  });
});

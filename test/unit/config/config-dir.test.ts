import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { type CheckedConfig, checkConfig } from '../../../src/config/load-config.ts';

const root = mkdtempSync(join(tmpdir(), 'dhcfg-dir-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let made = 0;
/** A folder of files by name; a name may have folders in it. */
function folder(files: Readonly<Record<string, string>>): string {
  const dir = join(root, String(made++));
  mkdirSync(dir);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(dir, name, '..'), { recursive: true });
    writeFileSync(join(dir, name), text);
  }
  return dir;
}

const kubelet = (fields: string): string =>
  `apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n${fields}`;

async function check(base: string, dropIns: Readonly<Record<string, string>>, flags = {}): Promise<CheckedConfig> {
  const files = [join(folder({ 'base.yaml': kubelet(base) }), 'base.yaml')];
  return await checkConfig({ files, configDir: folder(dropIns), flags, hostname: () => 'n1' });
}

describe('--config-dir', () => {
  test('drop-ins go over --config in lexical order, folders where their names stand; flags go over all', async () => {
    const { config, skipped, findings } = await check(
      'maxPods: 1\nclusterDNS: [10.0.0.1, 10.0.0.2]\nkubeReserved: { cpu: 1, memory: 1Gi }\nsyncFrequency: 5s\n',
      {
        '20-b.conf': kubelet('maxPods: 20\nclusterDNS: [10.0.0.3]\n'),
        '10-a.conf': kubelet('maxPods: 10\npodsPerCore: 7\n'),
        '15-sub/99-inner.conf': kubelet('podsPerCore: 8\nkubeReserved: { cpu: 2 }\n'),
        '30-not.yaml': kubelet('maxPods: 30\n'),
      },
      { 'pod-max-pids': '5' },
    );
    expect(findings).toEqual([]);
    expect(config?.pods).toMatchObject({ maxPods: 20, podsPerCore: 8, podPidsLimit: 5, syncFrequencyMs: 5000 });
    expect(config?.dns.clusterDNS).toEqual(['10.0.0.3']);
    expect(config?.reserved.kube).toEqual({ cpu: '2', memory: '1Gi' });
    expect(skipped.map((path) => path.split('/').at(-1))).toEqual(['30-not.yaml']);
  });

  test('null and zero take a value back to its default', async () => {
    const { config } = await check('maxPods: 5\nsyncFrequency: 5s\nclusterDNS: [10.0.0.1]\n', {
      'a.conf': kubelet('maxPods: 0\nsyncFrequency: 0s\nclusterDNS: null\n'),
    });
    expect(config?.pods).toMatchObject({ maxPods: 110, syncFrequencyMs: 60_000 });
    expect(config?.dns.clusterDNS).toEqual([]);
  });

  test('a warning goes when a drop-in takes its cause back, and stands where the cause stands', async () => {
    expect(
      (await check('kernelMemcgNotification: true\n', { 'a.conf': kubelet('kernelMemcgNotification: false\n') }))
        .findings,
    ).toEqual([]);
    const { findings } = await check('', { 'a.conf': kubelet('maxPods: 3\nkernelMemcgNotification: true\n') });
    expect(findings.map(({ level, text }) => [level, text.split('/').at(-1)])).toEqual([
      ['warning', 'a.conf:4: KubeletConfiguration: kernelMemcgNotification is true: it is known, but not yet honoured'],
    ]);
  });

  test('mistakes that lie between two files name the later one', async () => {
    const { findings } = await check('imageGCHighThresholdPercent: 50\n', {
      'a.conf': kubelet('\nimageGCLowThresholdPercent: 60\n'),
    });
    expect(findings.find(({ level }) => level === 'error')?.text).toMatch(
      /a\.conf:4: KubeletConfiguration: imageGCLowThresholdPercent is 60; expected less than imageGCHighThresholdPercent, which is 50/,
    );
  });

  test('files named beside a file are found there', async () => {
    const dir = folder({ 'kubelet/config.yaml': kubelet('resolvConf: resolv.conf\nstaticPodPath: manifests\n') });
    const { config } = await checkConfig({ files: [join(dir, 'kubelet/config.yaml')], flags: {}, hostname: () => 'n' });
    expect(config?.dns.resolvConf).toBe(join(dir, 'kubelet/resolv.conf'));
    expect(config?.staticPods.path).toBe(join(dir, 'kubelet/manifests'));
  });

  test('a missing folder, and an unknown kind in a drop-in', async () => {
    const { findings } = await checkConfig({
      files: [],
      configDir: join(root, 'absent'),
      flags: {},
      hostname: () => 'n',
    });
    expect(findings[0]?.text).toMatch(/absent: cannot be read/);
    expect((await check('', { 'a.conf': 'apiVersion: v1\nkind: Pod\n' })).findings[0]?.text).toMatch(
      /a\.conf:2: kind is "Pod"/,
    );
  });

  /** Fields whose merging differs: a number, a list, a mapping, a section. */
  const partial = fc.record(
    {
      maxPods: fc.integer({ min: 1, max: 500 }),
      clusterDNS: fc.array(fc.constantFrom('10.0.0.1', '10.0.0.2', 'fd00::1'), { maxLength: 3 }),
      kubeReserved: fc.dictionary(fc.constantFrom('cpu', 'memory', 'pid'), fc.constantFrom('1', '2', '3')),
      crashLoopBackOff: fc.record(
        { maxContainerRestartPeriod: fc.constantFrom('1s', '10s', '1m') },
        { requiredKeys: [] },
      ),
      failSwapOn: fc.boolean(),
    },
    { requiredKeys: [] },
  );
  type Partial = Record<string, unknown>;

  /** As a person would write the three files into one. */
  function byHand(parts: readonly Partial[]): Partial {
    const whole: Partial = {};
    for (const part of parts) {
      for (const [field, value] of Object.entries(part)) {
        const mapping = field === 'kubeReserved' || field === 'crashLoopBackOff';
        whole[field] = mapping ? { ...(whole[field] as object | undefined), ...(value as object) } : value;
      }
    }
    return whole;
  }

  test('merging drop-ins equals merging by hand', async () => {
    const asJson = (fields: Partial): string =>
      JSON.stringify({ apiVersion: 'kubelet.config.k8s.io/v1beta1', kind: 'KubeletConfiguration', ...fields });
    await fc.assert(
      fc.asyncProperty(fc.array(partial, { minLength: 1, maxLength: 4 }), async (parts) => {
        const [base = {}, ...dropIns] = parts;
        const dir = folder({
          'base.yaml': asJson(base),
          'hand.yaml': asJson(byHand(parts)),
          'd/.keep': '',
          ...Object.fromEntries(dropIns.map((part, index) => [`d/${index}.conf`, asJson(part)])),
        });
        const sources = { flags: {}, hostname: () => 'n' };
        const merged = await checkConfig({ ...sources, files: [join(dir, 'base.yaml')], configDir: join(dir, 'd') });
        const hand = await checkConfig({ ...sources, files: [join(dir, 'hand.yaml')] });
        expect(merged.config).toBeDefined();
        expect(merged.config).toEqual(hand.config);
      }),
      { numRuns: 60 },
    );
  });
});

import { describe, expect, test } from 'vitest';
import { FeatureGates, knownGates } from '../../../src/config/feature-gates.ts';
import { checkConfig } from '../../../src/config/load-config.ts';

const found = (set: Record<string, boolean>): string[] =>
  new FeatureGates(set).findings.map(({ level, gate, message }) => `${level} ${gate}: ${message}`);

describe('feature gates', () => {
  // kube_features.go at 1.36 has 225; client-go adds 10, component-base and controller-manager 5.
  test('all are known, by stage', () => {
    const gates = knownGates();
    expect(gates.size).toBe(240);
    const count: Record<string, number> = {};
    for (const { stage, on } of gates.values()) count[`${stage} ${on}`] = (count[`${stage} ${on}`] ?? 0) + 1;
    expect(count).toEqual({
      'ALPHA false': 49,
      'BETA false': 11,
      'BETA true': 88,
      'DEPRECATED false': 10,
      'DEPRECATED true': 6,
      'GA true': 76,
    });
    expect(gates.get('NodeSwap')).toEqual({ stage: 'GA', on: true, locked: true });
    expect(gates.get('CustomCPUCFSQuotaPeriod')).toEqual({ stage: 'GA', on: true, locked: false });
    expect(gates.get('MemoryQoS')).toEqual({ stage: 'ALPHA', on: false, locked: false });
  });

  test.each<[string, Record<string, boolean>, string[]]>([
    ['defaults said aloud', { NodeSwap: true, MemoryQoS: false }, []],
    ['unknown', { NodeSwop: true }, ['error NodeSwop: unrecognized feature gate: NodeSwop; did you mean NodeSwap?']],
    [
      'nothing near',
      { Xyzzyx: true },
      ['error Xyzzyx: unrecognized feature gate: Xyzzyx; expected a gate of Kubernetes 1.36'],
    ],
    [
      'locked',
      { NodeSwap: false },
      ['error NodeSwap: cannot set feature gate NodeSwap to false, feature is locked to true'],
    ],
    [
      'without effect',
      { EventedPLEG: true },
      ['warning EventedPLEG: is true, but this gate of stage ALPHA changes nothing in deckhand'],
    ],
    ['with effect', { KubeletCrashLoopBackOffMax: false, MemoryQoS: true, QOSReserved: true }, []],
    [
      'depending on one that is off',
      { ResourceHealthStatus: false, ResourceHealthStatusMessage: true },
      [
        'warning ResourceHealthStatus: is false, but this gate of stage BETA changes nothing in deckhand',
        'error ResourceHealthStatusMessage: is enabled, but depends on features that are disabled: [ResourceHealthStatus]',
      ],
    ],
    ['a whole stage', { AllAlpha: true }, ['warning AllAlpha: is true; deckhand follows few gates, and only those']],
    [
      'a whole stage as it is',
      { AllAlpha: false, AllBeta: false },
      ['warning AllBeta: is false; deckhand follows few gates, and only those'],
    ],
  ])('%s', (_name, set, expected) => {
    expect(found(set)).toEqual(expected);
  });

  test('a gate of its own goes before its stage', () => {
    const gates = new FeatureGates({ AllBeta: false, KubeletCrashLoopBackOffMax: true });
    expect(gates.enabled('KubeletCrashLoopBackOffMax')).toBe(true);
    expect(gates.enabled('RotateKubeletServerCertificate')).toBe(false);
    expect(gates.enabled('NodeSwap')).toBe(true);
    expect(gates.enabled('NoSuchGate')).toBe(false);
  });

  test.each<[Record<string, string>, RegExp | undefined]>([
    [{ 'cpu-cfs-quota-period': '50ms' }, undefined],
    [
      { 'cpu-cfs-quota-period': '50ms', 'feature-gates': 'CustomCPUCFSQuotaPeriod=false' },
      /--cpu-cfs-quota-period: is 50ms, which needs the feature gate/,
    ],
    [
      { 'rotate-server-certificates': 'true', 'feature-gates': 'RotateKubeletServerCertificate=f' },
      /--rotate-server-certificates: is true, which needs/,
    ],
    [{ 'feature-gates': 'MemoryQoS=perhaps' }, /--feature-gates: MemoryQoS is "perhaps"; expected true or false/],
  ])('what gates allow: %j', async (flags, expected) => {
    const { findings } = await checkConfig({ files: [], flags, hostname: () => 'n' });
    const errors = findings.filter(({ level }) => level === 'error').map(({ text }) => text);
    if (expected === undefined) expect(errors).toEqual([]);
    else expect(errors.join('\n')).toMatch(expected);
  });
});

import { beforeEach, describe, expect, it } from 'vitest';
import { LocalReadiness } from '../../../src/pods/local-readiness.ts';

describe('LocalReadiness', () => {
  let readiness: LocalReadiness;
  let heard: string[];

  beforeEach(() => {
    readiness = new LocalReadiness(() => {});
    heard = [];
    readiness.subscribe((address) => heard.push(address));
  });

  it('tells each change of each address once', () => {
    readiness.set('u1', ['10.0.0.1', 'fd00::1'], 'serving');
    readiness.set('u1', ['10.0.0.1', 'fd00::1'], 'serving');
    expect(heard).toEqual(['10.0.0.1', 'fd00::1']);
    readiness.set('u1', ['10.0.0.1'], 'terminating');
    expect(heard).toEqual(['10.0.0.1', 'fd00::1', '10.0.0.1']);
    expect(readiness.get('10.0.0.1')).toBe('terminating');
    expect(readiness.get('10.9.9.9')).toBeUndefined();
  });

  it('a pod that has ended does not speak for the pod that has its address now', () => {
    readiness.set('ended', ['10.0.0.1'], 'not-ready');
    readiness.set('new', ['10.0.0.1'], 'serving');
    // The ended one is looked at again now and then, its status still shows the address.
    readiness.set('ended', ['10.0.0.1'], 'not-ready');
    expect(readiness.get('10.0.0.1')).toBe('serving');
    readiness.set('new', ['10.0.0.1'], 'not-ready');
    expect(readiness.get('10.0.0.1')).toBe('not-ready');
    readiness.drop('ended');
    expect(readiness.get('10.0.0.1')).toBe('not-ready');
    readiness.drop('new');
    expect(readiness.get('10.0.0.1')).toBeUndefined();
  });
});

import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import type { Change } from '../../../src/cluster/port.ts';
import { WatchCache, WatchCacheMetrics } from '../../../src/cluster/watch-cache.ts';
import { CodedError } from '../../../src/kit/errors.ts';
import { type Logger, silent } from '../../../src/kit/log.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';
import { Metrics } from '../../../src/kit/metrics.ts';
import type { ConfigMap } from '../../../src/model/objects.ts';
import { resources } from '../../../src/model/resource.ts';
import { failure, MemoryApi } from './memory-api.ts';

const { configmaps } = resources;
const configMap = (name: string, x: string): ConfigMap => ({ metadata: { name, namespace: 'n' }, data: { x } });

interface Harness {
  readonly api: MemoryApi;
  readonly clock: ManualClock;
  readonly cache: WatchCache<ConfigMap, string>;
  readonly changes: Change<string>[];
  /** The view as somebody sees it who only follows the changes. */
  readonly mirror: Map<string, string>;
  start(): void;
  stop(): Promise<void>;
}

const running: Harness[] = [];

function harness(options: { pageSize?: number; metrics?: Metrics; logger?: Logger } = {}): Harness {
  const api = new MemoryApi();
  const clock = new ManualClock();
  const stop = new AbortController();
  const cache = new WatchCache<ConfigMap, string>(
    {
      type: configmaps,
      project: (raw) => {
        const x = raw.data?.['x'];
        if (x === 'throw') throw new Error('unreadable');
        return x === 'hide' ? undefined : x;
      },
      pageSize: options.pageSize ?? 2,
    },
    {
      api,
      clock,
      logger: options.logger ?? silent,
      random: () => 0.5,
      metrics: options.metrics === undefined ? undefined : new WatchCacheMetrics(options.metrics),
    },
  );
  const changes: Change<string>[] = [];
  const mirror = new Map<string, string>();
  cache.subscribe((change) => {
    changes.push(change);
    expect(change.previous).toBe(mirror.get(change.key));
    expect(change.current).toBe(cache.get(change.key));
    if (change.current === undefined) mirror.delete(change.key);
    else mirror.set(change.key, change.current);
  });
  let done: Promise<void> = Promise.resolve();
  const made: Harness = {
    api,
    clock,
    cache,
    changes,
    mirror,
    start: () => {
      done = cache.run(stop.signal);
    },
    stop: async () => {
      stop.abort();
      await done;
    },
  };
  running.push(made);
  return made;
}

afterEach(async () => {
  for (const one of running.splice(0)) await one.stop();
});

describe('WatchCache', () => {
  test('lists in pages, is synced only when whole, then follows', async () => {
    const { api, cache, clock, changes, start } = harness();
    for (let i = 0; i < 5; i++) api.put(configmaps, configMap(`m${i}`, `${i}`));
    let lists = 0;
    let sizeWhenUnsynced = 0;
    api.onRequest = ({ verb }) => {
      if (verb !== 'list') return;
      lists++;
      expect(cache.synced).toBe(false);
      sizeWhenUnsynced = Math.max(sizeWhenUnsynced, cache.size);
    };
    const synced = cache.whenSynced();
    start();
    await synced;
    expect(lists).toBe(3);
    expect(sizeWhenUnsynced).toBe(0);
    expect([...cache.values()]).toEqual(['0', '1', '2', '3', '4']);
    changes.length = 0;
    api.put(configmaps, configMap('m1', 'new'));
    api.remove(configmaps, 'n/m2');
    await clock.advance(0);
    expect(changes).toEqual([
      { key: 'n/m1', previous: '1', current: 'new' },
      { key: 'n/m2', previous: '2', current: undefined },
    ]);
  });

  test('410 relists, keeps what it had meanwhile, and tells exactly what changed', async () => {
    const { api, cache, clock, changes, start } = harness();
    for (const name of ['a', 'b', 'c']) api.put(configmaps, configMap(name, name));
    start();
    await clock.advance(0);
    changes.length = 0;
    let listing = false;
    api.onRequest = ({ verb }) => {
      if (verb === 'watch' && !listing) throw failure('Unavailable', 500, 'x', 'away');
      if (verb === 'list') {
        listing = true;
        expect([...cache.values()]).toEqual(['a', 'b', 'c']);
        expect(cache.synced).toBe(true);
      }
    };
    api.dropWatches();
    await clock.advance(0);
    api.put(configmaps, configMap('a', 'changed'));
    api.remove(configmaps, 'n/b');
    api.put(configmaps, configMap('d', 'd'));
    api.compact();
    listing = true;
    await clock.advance(60_000);
    expect(changes).toEqual([
      { key: 'n/b', previous: 'b', current: undefined },
      { key: 'n/a', previous: 'a', current: 'changed' },
      { key: 'n/d', previous: undefined, current: 'd' },
    ]);
  });

  test('410 from a server that was away for long relists at once', async () => {
    const { api, cache, clock, start } = harness();
    api.put(configmaps, configMap('a', 'a'));
    start();
    await clock.advance(0);
    let away = true;
    api.onRequest = () => {
      if (away) throw new CodedError('Unavailable', 'connection refused');
    };
    api.dropWatches();
    await clock.advance(120_000);
    api.put(configmaps, configMap('a', 'changed'));
    api.compact();
    away = false;
    // Up to 5 s until the server is looked for again, and then no more waiting.
    await clock.advance(5500);
    expect(cache.get('n/a')).toBe('changed');
    api.put(configmaps, configMap('a', 'watched'));
    await clock.advance(500);
    expect(cache.get('n/a')).toBe('watched');
  });

  test('a bookmark moves the position past a compaction', async () => {
    const { api, cache, clock, start } = harness();
    api.put(configmaps, configMap('a', 'a'));
    start();
    await clock.advance(0);
    let lists = 0;
    api.onRequest = ({ verb }) => {
      if (verb === 'list') lists++;
    };
    api.version += 1000;
    api.bookmark();
    await clock.advance(0);
    api.compact();
    api.dropWatches();
    await clock.advance(10_000);
    api.put(configmaps, configMap('a', 'b'));
    await clock.advance(0);
    expect(cache.get('n/a')).toBe('b');
    expect(lists).toBe(0);
  });

  test('one object that cannot be read, or is not wanted, does not keep the others out', async () => {
    const { api, cache, clock, start } = harness();
    for (const [name, x] of Object.entries({ a: 'throw', b: 'fine', c: 'hide' }))
      api.put(configmaps, configMap(name, x));
    start();
    await clock.advance(0);
    expect([...cache.values()]).toEqual(['fine']);
    api.put(configmaps, configMap('b', 'hide'));
    api.put(configmaps, configMap('a', 'fine'));
    await clock.advance(0);
    expect(cache.get('n/b')).toBeUndefined();
    expect(cache.get('n/a')).toBe('fine');
  });

  test('any error is retried; Retry-After is the least wait', async () => {
    const { api, cache, clock, start } = harness();
    api.put(configmaps, configMap('a', 'a'));
    const errors = [
      new Error('not even coded'),
      failure('Forbidden', 403, 'Forbidden', 'no'),
      failure('TooManyRequests', 429, 'TooManyRequests', 'slow', 20_000),
    ];
    const at: number[] = [];
    api.onRequest = ({ verb }) => {
      if (verb !== 'list') return;
      at.push(clock.monotonic());
      const error = errors.shift();
      if (error !== undefined) throw error;
    };
    start();
    await clock.advance(19_000);
    expect(cache.synced).toBe(false);
    expect(cache.lastFailure?.code).toBe('TooManyRequests');
    await clock.advance(5000);
    expect(cache.synced).toBe(true);
    expect(cache.lastFailure).toBeUndefined();
    expect((at[3] ?? 0) - (at[2] ?? 0)).toBe(20_000);
  });

  test('a server that always answers 410 is not asked in a tight loop', async () => {
    const { api, clock, start } = harness();
    let requests = 0;
    api.onRequest = ({ verb }) => {
      requests++;
      if (verb === 'watch') throw failure('Gone', 410, 'Expired', 'too old');
    };
    start();
    await clock.advance(60_000);
    expect(requests).toBeGreaterThan(5);
    expect(requests).toBeLessThan(40);
  });

  test('counts', async () => {
    const metrics = new Metrics();
    const { api, clock, start } = harness({ metrics });
    api.put(configmaps, configMap('a', 'a'));
    start();
    await clock.advance(0);
    api.put(configmaps, configMap('a', 'b'));
    await clock.advance(0);
    const text = await metrics.text();
    expect(text).toContain('reflector_lists_total{resource="configmaps"} 1');
    expect(text).toContain('reflector_events_total{resource="configmaps"} 1');
    expect(text).toContain('reflector_objects{resource="configmaps"} 1');
  });

  const action = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant('put' as const),
        name: fc.nat(5),
        x: fc.constantFrom('1', '2', '3', 'hide', 'throw'),
      }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('remove' as const), name: fc.nat(5) }) },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constantFrom('compact' as const, 'drop' as const, 'bookmark' as const) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('break' as const),
        code: fc.constantFrom('Gone' as const, 'Unavailable' as const, 'InvalidObject' as const),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant('fault' as const),
        verb: fc.constantFrom('list', 'watch'),
        code: fc.constantFrom(
          'Gone' as const,
          'Unavailable' as const,
          'Forbidden' as const,
          'InvalidObject' as const,
          'Internal' as const,
        ),
        times: fc.integer({ min: 1, max: 4 }),
      }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('time' as const), ms: fc.nat(3000) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('offline' as const) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('online' as const), compact: fc.boolean() }) },
  );

  test('whatever happens, the view ends as the server is, and the changes add up to it', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(action, { size: 'max', maxLength: 60 }),
        fc.integer({ min: 1, max: 4 }),
        async (actions, pageSize) => {
          const one = harness({ pageSize });
          const faults: { verb: string; error: Error }[] = [];
          let offline = false;
          one.api.onRequest = ({ verb }) => {
            if (offline) throw failure('Unavailable', 500, 'x', 'away');
            const at = faults.findIndex((fault) => fault.verb === verb);
            const [fault] = at === -1 ? [] : faults.splice(at, 1);
            if (fault !== undefined) throw fault.error;
          };
          one.start();
          for (const step of actions) {
            if (step.do === 'put') one.api.put(configmaps, configMap(`m${step.name}`, step.x));
            else if (step.do === 'remove') one.api.remove(configmaps, `n/m${step.name}`);
            else if (step.do === 'compact') one.api.compact();
            else if (step.do === 'drop') one.api.dropWatches();
            else if (step.do === 'bookmark') one.api.bookmark();
            else if (step.do === 'offline') {
              offline = true;
              one.api.dropWatches();
            } else if (step.do === 'online') {
              offline = false;
              if (step.compact) one.api.compact();
            } else if (step.do === 'break') one.api.dropWatches(failure(step.code, 500, 'x', 'injected'));
            else if (step.do === 'fault') {
              for (let i = 0; i < step.times; i++)
                faults.push({ verb: step.verb, error: failure(step.code, 500, 'x', 'injected') });
            } else if (step.do === 'time') await one.clock.advance(step.ms);
          }
          offline = false;
          await one.clock.advance(600_000);
          const expected = new Map(
            one.api
              .all<ConfigMap>(configmaps)
              .map((object) => [`n/${object.metadata.name}`, object.data?.['x'] ?? ''] as const)
              .filter(([, x]) => x !== 'hide' && x !== 'throw'),
          );
          expect(one.cache.synced).toBe(true);
          expect(new Map([...expected.keys()].map((key) => [key, one.cache.get(key)]))).toEqual(expected);
          expect(one.cache.size).toBe(expected.size);
          expect(one.mirror).toEqual(expected);
          await one.stop();
        },
      ),
      { numRuns: 300 },
    );
  });

  test('a refusal is told once, with who was refused, and once more when it is over', async () => {
    const told: string[] = [];
    const tell = (level: string) => (fields: Readonly<Record<string, unknown>>, message: string) => {
      told.push(`${level}: ${message}: ${String(fields['error'] ?? fields['after'])}`);
    };
    const logger: Logger = {
      ...silent,
      warn: tell('warn'),
      info: tell('info'),
      error: tell('error'),
      child: () => logger,
    };
    const { api, clock, cache, start } = harness({ logger });
    let refused = 0;
    api.onRequest = () => {
      refused++;
      throw failure('Forbidden', 403, 'Forbidden', 'User "system:node:x" cannot list resource "configmaps"');
    };
    start();
    await clock.advance(300_000);
    expect(refused).toBeGreaterThan(10);
    expect(told).toHaveLength(1);
    expect(told[0]).toContain('User "system:node:x" cannot list resource "configmaps"');
    expect(cache.lastFailure?.code).toBe('Forbidden');
    api.onRequest = () => {};
    await clock.advance(30_000);
    expect(cache.synced).toBe(true);
    expect(told).toHaveLength(2);
    expect(told[1]).toContain('work again: Forbidden');
  });

  test('looks for a server that is away every few seconds, and spares one that answers with errors', async () => {
    const { api, clock, start } = harness();
    let asked = 0;
    api.onRequest = () => {
      asked++;
      throw new CodedError('Unavailable', 'connecting: refused');
    };
    start();
    await clock.advance(60_000);
    asked = 0;
    await clock.advance(60_000);
    expect(asked).toBeGreaterThanOrEqual(12);
    api.onRequest = () => {
      asked++;
      throw failure('Unavailable', 503, 'ServiceUnavailable', 'not now');
    };
    await clock.advance(60_000);
    asked = 0;
    await clock.advance(60_000);
    expect(asked).toBeGreaterThan(0);
    expect(asked).toBeLessThanOrEqual(4);
  });
});

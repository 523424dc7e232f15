import { describe, expect, test } from 'vitest';
import { ApiEventRecorder, type EventRecorderOptions } from '../../../src/cluster/api-event-recorder.ts';
import { EventCorrelator } from '../../../src/cluster/event-correlator.ts';
import { silent } from '../../../src/kit/log.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';
import { Metrics } from '../../../src/kit/metrics.ts';
import type { Event } from '../../../src/model/objects.ts';
import { resources } from '../../../src/model/resource.ts';
import { failure, MemoryApi } from './memory-api.ts';

const pod = { kind: 'Pod', namespace: 'n', name: 'p', uid: 'u', apiVersion: 'v1' };
const other = { ...pod, name: 'q', uid: 'v' };

function setUp(options: Partial<EventRecorderOptions> = {}) {
  const api = new MemoryApi();
  const clock = new ManualClock();
  const metrics = new Metrics();
  const recorder = new ApiEventRecorder(
    { nodeName: 'node-1', ...options },
    { api, clock, logger: silent, metrics, random: () => 0 },
  );
  const events = (): Event[] => api.all<Event>(resources.events);
  return { api, clock, metrics, recorder, events };
}

describe('ApiEventRecorder', () => {
  test('writes what kubectl describe shows', async () => {
    const { clock, events, recorder } = setUp();
    recorder.event(pod, 'Warning', 'BackOff', 'Back-off restarting failed container');
    await clock.advance(0);
    expect(events()).toMatchObject([
      {
        metadata: { namespace: 'n', name: expect.stringMatching(/^p\.[0-9a-f]{16}$/) },
        involvedObject: pod,
        reason: 'BackOff',
        message: 'Back-off restarting failed container',
        type: 'Warning',
        source: { component: 'kubelet', host: 'node-1' },
        firstTimestamp: '2026-01-01T00:00:00Z',
        lastTimestamp: '2026-01-01T00:00:00Z',
        count: 1,
      },
    ]);
  });

  test('the same event again counts up, and one that the API forgot is made anew', async () => {
    const { api, clock, events, recorder } = setUp();
    for (let i = 0; i < 3; i++) {
      recorder.event(pod, 'Normal', 'Pulled', 'm');
      await clock.advance(1000);
    }
    expect(events()).toMatchObject([
      { count: 3, firstTimestamp: '2026-01-01T00:00:00Z', lastTimestamp: '2026-01-01T00:00:02Z' },
    ]);
    for (const event of events()) api.remove(resources.events, `n/${event.metadata.name}`);
    recorder.event(pod, 'Normal', 'Pulled', 'm');
    await clock.advance(0);
    expect(events()).toMatchObject([{ count: 4 }]);
  });

  test('repeats of one moment are one write', async () => {
    const { api, clock, events, recorder } = setUp();
    let writes = 0;
    api.onRequest = () => {
      writes++;
    };
    for (let i = 0; i < 5; i++) recorder.event(pod, 'Normal', 'Pulled', 'm');
    await clock.advance(0);
    expect(events()).toMatchObject([{ count: 5 }]);
    expect(writes).toBe(1);
  });

  test('node events go to namespace default', async () => {
    const { clock, events, recorder } = setUp();
    recorder.event({ kind: 'Node', name: 'node-1', uid: 'node-1' }, 'Normal', 'NodeReady', 'm');
    await clock.advance(0);
    expect(events()[0]?.metadata.namespace).toBe('default');
  });

  test('an API that is away is waited for, in order; a refusal is not', async () => {
    const { api, clock, events, metrics, recorder } = setUp();
    let away = 3;
    api.onRequest = ({ body }) => {
      if ((body as Event).reason === 'Refused') throw failure('Forbidden', 403, 'Forbidden', 'no');
      if (away-- > 0) throw failure('Unavailable', 500, 'x', 'away');
    };
    recorder.event(pod, 'Normal', 'Refused', 'm');
    recorder.event(pod, 'Normal', 'First', 'm');
    recorder.event(other, 'Normal', 'Second', 'm');
    await clock.advance(30_000);
    expect(events().map((event) => event.reason)).toEqual(['First', 'Second']);
    expect(await metrics.text()).toContain('deckhand_events_dropped_total{why="refused"} 1');
  });

  test('the queue is bounded and drops are counted; recording never waits', async () => {
    const { api, clock, events, metrics, recorder } = setUp({ queueLimit: 3, spamBurst: 100 });
    let away = true;
    api.onRequest = () => {
      if (away) throw failure('Unavailable', 500, 'x', 'away');
    };
    for (let i = 0; i < 8; i++) recorder.event(pod, 'Normal', `R${i}`, 'm');
    expect(await metrics.text()).toContain('deckhand_events_dropped_total{why="queue"} 5');
    away = false;
    await clock.advance(60_000);
    expect(events().map((event) => event.reason)).toEqual(['R0', 'R1', 'R2']);
  });

  test('close writes what waits, for as long as it is given', async () => {
    const { clock, events, recorder } = setUp();
    recorder.event(pod, 'Normal', 'Last', 'm');
    await recorder.close(1000);
    expect(events()).toHaveLength(1);
    recorder.event(pod, 'Normal', 'Late', 'm');
    await clock.advance(1000);
    expect(events()).toHaveLength(1);
  });

  test('does not write faster than its rate', async () => {
    const { clock, events, recorder } = setUp({ qps: 2, burst: 3, spamBurst: 100 });
    for (let i = 0; i < 10; i++) recorder.event(pod, 'Normal', `R${i}`, 'm');
    await clock.advance(0);
    expect(events()).toHaveLength(3);
    await clock.advance(1000);
    expect(events()).toHaveLength(5);
    await clock.advance(5000);
    expect(events()).toHaveLength(10);
  });
});

describe('EventCorrelator', () => {
  const event = (message: string, about = pod) => ({ about, type: 'Normal', reason: 'R', message });

  test('from the tenth different message on, similar events are one', () => {
    const correlator = new EventCorrelator();
    for (let i = 1; i <= 9; i++) expect(correlator.observe(event(`${i}`), 0)?.message).toBe(`${i}`);
    const tenth = correlator.observe(event('10'), 0);
    expect(tenth).toMatchObject({ message: '(combined from similar events): 10', count: 1 });
    const eleventh = correlator.observe(event('11'), 0);
    expect(eleventh).toMatchObject({ key: tenth?.key, count: 2 });
    expect(correlator.observe(event('12'), 600_001)?.message).toBe('12');
  });

  test('an object may have 25 events at once, and one more each 5 minutes', () => {
    const correlator = new EventCorrelator();
    let allowed = 0;
    for (let i = 0; i < 40; i++) if (correlator.observe(event('m'), 0) !== undefined) allowed++;
    expect(allowed).toBe(25);
    expect(correlator.observe(event('m', other), 0)).toBeDefined();
    expect(correlator.observe(event('m'), 299_999)).toBeUndefined();
    expect(correlator.observe(event('m'), 300_000)).toMatchObject({ count: 42 });
  });

  test('forgets what was not used for longest', () => {
    const correlator = new EventCorrelator({ remembered: 2 });
    correlator.observe(event('a'), 0);
    correlator.observe(event('b'), 0);
    correlator.observe(event('a'), 0);
    correlator.observe(event('c'), 0);
    expect(correlator.observe(event('a'), 0)?.count).toBe(3);
    expect(correlator.observe(event('b'), 0)?.count).toBe(1);
  });
});

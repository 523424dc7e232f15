import { describe, expect, it } from 'vitest';
import type { Event } from '../../../src/model/objects.ts';
import type { ContainerStatus, Pod, PodStatus } from '../../../src/model/pod.ts';
import { outcomeOf } from '../../harness/random-pods/outcome.ts';

const app = (more: Partial<ContainerStatus>): ContainerStatus => ({
  name: 'a',
  ready: false,
  restartCount: 0,
  image: '',
  imageID: '',
  ...more,
});
const pod = (status: PodStatus, initContainers: Pod['spec']['initContainers'] = []): Pod => ({
  metadata: { name: 'p', namespace: 'default', uid: 'u' },
  spec: { containers: [{ name: 'a' }], initContainers },
  status,
});
const creating = { waiting: { reason: 'ContainerCreating' } };
const warning = (reason: string, uid = 'u'): Event =>
  ({ type: 'Warning', reason, message: 'words', involvedObject: { uid } }) as unknown as Event;
const told = (of: Pod, events: Event[] = []): string => {
  const outcome = outcomeOf(of, events);
  return outcome === undefined ? 'nothing' : `${outcome.kind} ${outcome.reason} ${outcome.message}`.trim();
};

describe('the outcome of a pod', () => {
  it.each<[string, Pod, Event[], string]>([
    ['new', pod({}), [], 'nothing'],
    ['being made', pod({ containerStatuses: [app({ state: creating })] }), [], 'nothing'],
    ['running', pod({ containerStatuses: [app({ state: { running: {} } })] }), [], 'runs'],
    ['ended', pod({ phase: 'Failed', containerStatuses: [app({})] }), [], 'runs'],
    ['refused', pod({ phase: 'Failed', reason: 'NodePorts', message: 'words' }), [], 'refused NodePorts words'],
    [
      'crashing',
      pod({
        containerStatuses: [
          app({ state: { waiting: { reason: 'CrashLoopBackOff' } }, lastState: { terminated: { exitCode: 1 } } }),
        ],
      }),
      [],
      'runs',
    ],
    [
      'not startable',
      pod({ containerStatuses: [app({ state: { waiting: { reason: 'ErrImagePull', message: 'words' } } })] }),
      [],
      'refused ErrImagePull words',
    ],
    [
      'held by an event',
      pod({ containerStatuses: [app({ state: creating })] }),
      [warning('FailedMount')],
      'refused FailedMount words',
    ],
    ['with a word that holds nothing', pod({}), [warning('MissingClusterDNS')], 'nothing'],
    ['with an event of an earlier pod of its name', pod({}), [warning('FailedMount', 'other')], 'nothing'],
    [
      'held by an init container that runs',
      pod(
        {
          initContainerStatuses: [app({ name: 'i', state: { running: {} } })],
          containerStatuses: [app({ state: { waiting: { reason: 'PodInitializing' } } })],
        },
        [{ name: 'i' }],
      ),
      [],
      'runs',
    ],
    [
      'silent behind a sidecar that has started',
      pod(
        {
          initContainerStatuses: [app({ name: 's', started: true, state: { running: {} } })],
          containerStatuses: [app({ state: { waiting: { reason: 'PodInitializing' } } })],
        },
        [{ name: 's', restartPolicy: 'Always' }],
      ),
      [],
      'nothing',
    ],
    [
      'unscheduled',
      pod({ conditions: [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: 'words' }] }),
      [],
      'refused Unschedulable words',
    ],
  ])('%s', (_name, of, events, expected) => {
    expect(told(of, events)).toBe(expected);
  });
});

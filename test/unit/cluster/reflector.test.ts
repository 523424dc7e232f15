import { describe, expect, test } from 'vitest';
import {
  afterInput,
  nextStep,
  type ReflectorInput,
  type ReflectorState,
  reflectorStart,
  retryDelay,
} from '../../../src/cluster/reflector.ts';

const listing: ReflectorState = { at: 'listing', failures: 0, expiredLists: 0, continueToken: 'next' };
const watching: ReflectorState = { at: 'watching', failures: 0, resourceVersion: '7', heard: true };
const unheard: ReflectorState = { ...watching, heard: false };
const failed = (code: 'Gone' | 'Unavailable' | 'InvalidObject' | 'Forbidden' | 'DeadlineExceeded', reason?: string) =>
  ({ type: 'failed', code, reason }) as const satisfies ReflectorInput;

describe('the reflector as a state machine', () => {
  test.each<[string, ReflectorState, ReflectorInput, ReflectorState]>([
    ['a first page of several', reflectorStart, { type: 'page', resourceVersion: '5', continueToken: 'next' }, listing],
    ['the last page', listing, { type: 'page', resourceVersion: '7', continueToken: undefined }, unheard],
    [
      'an empty token is the last page, too',
      listing,
      { type: 'page', resourceVersion: '7', continueToken: '' },
      unheard,
    ],
    [
      'a page after failures of the whole list keeps counting until the watch speaks',
      { at: 'empty', failures: 3, expiredLists: 0 },
      { type: 'page', resourceVersion: '7', continueToken: undefined },
      { ...unheard, failures: 3 },
    ],
    [
      'an event',
      { ...unheard, failures: 2 },
      { type: 'event', resourceVersion: '9' },
      { ...watching, resourceVersion: '9' },
    ],
    ['the end of a healthy stream', watching, { type: 'ended', lastedMs: 10 }, unheard],
    ['the end of a long, quiet stream', unheard, { type: 'ended', lastedMs: 400_000 }, unheard],
    ['the end of a short, quiet stream', unheard, { type: 'ended', lastedMs: 10 }, { ...unheard, failures: 1 }],
    ['410 while watching', watching, failed('Gone'), { at: 'empty', failures: 1, expiredLists: 0 }],
    ['410 while listing', listing, failed('Gone'), { at: 'empty', failures: 1, expiredLists: 1 }],
    ['silence', watching, failed('DeadlineExceeded'), { ...unheard, failures: 1 }],
    ['a dropped connection', watching, failed('Unavailable'), { ...unheard, failures: 1 }],
    ['a lost permission', watching, failed('Forbidden'), { ...unheard, failures: 1 }],
    [
      'a version from the future',
      watching,
      failed('Unavailable', 'Timeout'),
      { at: 'empty', failures: 1, expiredLists: 0 },
    ],
    ['a refused version', watching, failed('InvalidObject'), { at: 'empty', failures: 1, expiredLists: 0 }],
    ['a page that failed is asked for again', listing, failed('Unavailable'), { ...listing, failures: 1 }],
    ['a refused token', listing, failed('InvalidObject'), { at: 'empty', failures: 1, expiredLists: 0 }],
    ['a failed first list', reflectorStart, failed('Unavailable'), { at: 'empty', failures: 1, expiredLists: 0 }],
  ])('%s', (_name, state, input, next) => {
    expect(afterInput(state, input)).toEqual(next);
  });

  test.each<[string, ReflectorState, ReturnType<typeof nextStep>]>([
    ['start', reflectorStart, { do: 'list', continueToken: undefined, paged: true, wait: false }],
    ['listing', listing, { do: 'list', continueToken: 'next', paged: true, wait: false }],
    ['watching', watching, { do: 'watch', resourceVersion: '7', wait: false }],
    ['after a failure', { ...watching, failures: 1 }, { do: 'watch', resourceVersion: '7', wait: true }],
    [
      'a list whose token expired is asked for whole',
      { at: 'empty', failures: 1, expiredLists: 1 },
      { do: 'list', continueToken: undefined, paged: false, wait: true },
    ],
  ])('next step: %s', (_name, state, step) => {
    expect(nextStep(state)).toEqual(step);
  });

  test('delays grow to 30 s, are spread over their upper half and never go below what the server asked', () => {
    expect(retryDelay(1, 0)).toBe(100);
    expect(retryDelay(1, 1)).toBe(200);
    expect(retryDelay(3, 1)).toBe(800);
    expect(retryDelay(50, 1)).toBe(30_000);
    expect(retryDelay(50, 0)).toBe(15_000);
    expect(retryDelay(1, 0, 5000)).toBe(5000);
    expect(retryDelay(50, 1, 0, 5000)).toBe(5000);
    expect(retryDelay(1, 0, 60_000, 5000)).toBe(60_000);
  });
});

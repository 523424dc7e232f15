import { expect, test } from 'vitest';
import { TokenRequestSource } from '../../../src/cluster/token-request-source.ts';
import { silent } from '../../../src/kit/log.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';
import type { TokenRequest } from '../../../src/model/objects.ts';
import { resources } from '../../../src/model/resource.ts';
import { failure, MemoryApi } from './memory-api.ts';

const HOUR = 3_600_000;
const request = {
  namespace: 'n',
  serviceAccount: 'sa',
  podName: 'p',
  podUid: 'u',
  audience: undefined,
  expirationSeconds: 3600,
};

function setUp() {
  const api = new MemoryApi();
  const clock = new ManualClock();
  api.now = () => clock.now();
  api.put(resources.serviceaccounts, { metadata: { name: 'sa', namespace: 'n' } });
  const bodies: TokenRequest[] = [];
  api.onRequest = ({ body }) => {
    bodies.push(body as TokenRequest);
  };
  return { api, clock, bodies, source: new TokenRequestSource({ api, clock, logger: silent, random: () => 0.5 }) };
}

test('is bound to its pod and cached for 80 % of its life, less jitter', async () => {
  const { bodies, clock, source } = setUp();
  const start = clock.now();
  const first = await source.token(request);
  expect(bodies[0]?.spec).toEqual({
    audiences: [],
    expirationSeconds: 3600,
    boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: 'p', uid: 'u' },
  });
  expect(first.renewAt).toBe(start + 0.8 * HOUR - 5000);
  await clock.advance(first.renewAt - start - 1);
  expect((await source.token(request)).token).toBe(first.token);
  await clock.advance(1);
  expect((await source.token(request)).token).not.toBe(first.token);
  expect(bodies).toHaveLength(2);
});

test('a long one is renewed after a day', async () => {
  const { clock, source } = setUp();
  const { renewAt } = await source.token({ ...request, expirationSeconds: 30 * 86_400 });
  expect(renewAt).toBe(clock.now() + 24 * HOUR - 5000);
});

test('each pod, audience and life has its own; the same one is asked for once', async () => {
  const { bodies, source } = setUp();
  const [a, b] = await Promise.all([source.token(request), source.token(request)]);
  expect(a.token).toBe(b.token);
  expect(bodies).toHaveLength(1);
  const others = [
    { ...request, podUid: 'v' },
    { ...request, audience: 'vault' },
    { ...request, expirationSeconds: 700 },
  ];
  const tokens = new Set([a.token]);
  for (const other of others) tokens.add((await source.token(other)).token);
  expect(tokens.size).toBe(4);
  expect(bodies[2]?.spec.audiences).toEqual(['vault']);
});

test('a token that still lives outlasts an API that is away, then it fails', async () => {
  const { api, clock, source } = setUp();
  const first = await source.token(request);
  api.onRequest = () => {
    throw failure('Unavailable', 500, 'x', 'away');
  };
  await clock.advance(0.9 * HOUR);
  const again = await source.token(request);
  expect(again.token).toBe(first.token);
  expect(again.renewAt).toBeLessThanOrEqual(clock.now() + 30_000);
  await clock.advance(0.11 * HOUR);
  await expect(source.token(request)).rejects.toMatchObject({ code: 'Unavailable' });
});

test('a server whose clock is ahead, or a clock that is set back, makes no renewal late', async () => {
  const { api, bodies, clock, source } = setUp();
  api.now = () => clock.now() + 5 * HOUR;
  const { renewAt } = await source.token(request);
  expect(renewAt).toBeLessThanOrEqual(clock.now() + 0.8 * HOUR);
  api.now = () => clock.now();
  const other = { ...request, podUid: 'v' };
  await source.token(other);
  bodies.length = 0;
  clock.jump(-24 * HOUR);
  await clock.advance(0.8 * HOUR);
  await source.token(other);
  expect(bodies).toHaveLength(1);
});

test('a clock that is hours ahead does not make this node ask without end', async () => {
  const { api, clock, source } = setUp();
  api.now = () => clock.now() - 5 * HOUR;
  const { renewAt } = await source.token(request);
  expect(renewAt).toBe(clock.now() + 30_000);
});

test('the API is asked less and less often while it cannot renew, and not at all for a pod that is gone', async () => {
  const { api, bodies, clock, source } = setUp();
  const asked: number[] = [];
  await source.token(request);
  const away = failure('Unavailable', 500, 'x', 'away');
  api.onRequest = () => {
    asked.push(clock.now());
    throw away;
  };
  await clock.advance(0.8 * HOUR);
  for (let second = 0; second < 300; second++) {
    await source.token(request);
    await clock.advance(1000);
  }
  expect(asked.length).toBeLessThan(12);
  expect(asked.length).toBeGreaterThan(4);
  asked.length = 0;
  api.onRequest = () => {
    asked.push(clock.now());
    throw failure('NotFound', 404, 'NotFound', 'pods "p" not found');
  };
  for (let second = 0; second < 300; second++) {
    await source.token(request);
    await clock.advance(1000);
  }
  expect(asked).toHaveLength(1);
  expect(bodies).toHaveLength(1);
});

test('refusals are told in kubelet’s words', async () => {
  const { source } = setUp();
  await expect(source.token({ ...request, serviceAccount: 'none' })).rejects.toThrow(
    /^failed to fetch token: serviceaccounts "none" not found$/,
  );
});

test('refusals go through, and forgotten pods are asked for anew', async () => {
  const { bodies, source } = setUp();
  await expect(source.token({ ...request, serviceAccount: 'none' })).rejects.toMatchObject({ code: 'NotFound' });
  await expect(source.token({ ...request, expirationSeconds: 5 })).rejects.toMatchObject({ code: 'InvalidObject' });
  bodies.length = 0;
  await source.token(request);
  source.forget('u');
  await source.token(request);
  expect(bodies).toHaveLength(2);
});

import { once } from 'node:events';
import { connect } from 'node:net';
import { expect, it } from 'vitest';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { startEmbeddedApi } from '../embedded-api.ts';

it('closes at once although a client has left in the middle of its TLS handshake', async () => {
  // Time stands still: whatever ends, ends without a time limit.
  const embedded = await startEmbeddedApi({}, { clock: new ManualClock(Date.now()) });
  const { port } = new URL(embedded.api.url);
  const [quiet, left] = [connect(Number(port), '127.0.0.1'), connect(Number(port), '127.0.0.1')];
  for (const socket of [quiet, left]) socket.on('error', () => {});
  await Promise.all([once(quiet, 'connect'), once(left, 'connect')]);
  left.end();
  const gone = once(quiet, 'close');
  await expect(Promise.race([embedded.close(), later(10_000)])).resolves.toBeUndefined();
  await gone;
  left.destroy();
});

function later(ms: number): Promise<string> {
  return new Promise((resolve) => setTimeout(() => resolve(`still open after ${ms} ms`), ms).unref());
}

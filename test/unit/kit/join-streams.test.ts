import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { joinStreams } from '../../../src/kit/join-streams.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';

let server: Server;
let sockets: Socket[];
const clock = new ManualClock();

beforeEach(async () => {
  sockets = [];
  server = createServer({ allowHalfOpen: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  server.close();
});

/** The two ends of a connection. */
async function connection(): Promise<readonly [Socket, Socket]> {
  const near = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true });
  const [far] = (await once(server, 'connection')) as [Socket];
  sockets.push(near, far);
  for (const socket of [near, far]) socket.on('error', () => {});
  return [near, far];
}

/** Everything until the other end says that nothing more comes. */
function all(socket: Socket): Promise<string> {
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk;
  });
  return once(socket, 'end').then(() => text);
}

describe('joined connections', () => {
  it('carry both directions, one of which may end before the other', async () => {
    const [client, left] = await connection();
    const [right, far] = await connection();
    const joined = joinStreams(left, right, 0, clock);
    client.end('question');
    expect(await all(far)).toBe('question');
    far.write('ans');
    far.end('wer');
    expect(await all(client)).toBe('answer');
    await joined;
  });

  it('hold back who is faster than the other end', async () => {
    const [client, left] = await connection();
    const [right, far] = await connection();
    void joinStreams(left, right, 0, clock);
    far.pause();
    for (let i = 0; i < 64; i++) client.write(Buffer.alloc(1_048_576));
    // Until nothing moves any more.
    await expect.poll(() => [left.isPaused(), right.writableNeedDrain]).toEqual([true, true]);
    expect(client.writableLength).toBeGreaterThan(0);
    expect(left.readableLength + right.writableLength).toBeLessThan(1_048_576);
  });

  it('end together when one breaks', async () => {
    const [client, left] = await connection();
    const [right, far] = await connection();
    const joined = joinStreams(left, right, 0, clock);
    const heard = all(far);
    client.resetAndDestroy();
    await Promise.all([joined, heard]);
    expect([left.destroyed, right.destroyed]).toEqual([true, true]);
  });

  it('wait half a minute for an end that does not answer the other', async () => {
    const [client, left] = await connection();
    const [right, far] = await connection();
    const joined = joinStreams(left, right, 0, clock);
    client.end();
    far.resume();
    await once(far, 'end');
    expect(right.destroyed).toBe(false);
    await clock.advance(30_000);
    far.end();
    client.resume();
    await joined;
  });

  it('hold no process back once the caller is gone', async () => {
    const [client, left] = await connection();
    const [right, far] = await connection();
    let timers = 0;
    const counting = {
      after: (delayMs: number, run: () => void) => {
        timers++;
        const timer = clock.after(delayMs, run);
        return {
          cancel: () => {
            timers--;
            timer.cancel();
          },
        };
      },
    };
    void joinStreams(left, right, 0, counting);
    client.end();
    far.resume();
    await once(far, 'end');
    expect(timers).toBe(1);
    left.destroy();
    await once(left, 'close');
    expect([timers, right.destroyed]).toEqual([0, false]);
  });

  it('cuts what nothing moves in', async () => {
    const [client, left] = await connection();
    const [right, far] = await connection();
    const joined = joinStreams(left, right, 40, clock);
    client.write('a');
    const [heard, ended] = [all(far), all(client)];
    await joined;
    expect([await heard, await ended]).toEqual(['a', '']);
    expect([left.destroyed, right.destroyed]).toEqual([true, true]);
  });
});

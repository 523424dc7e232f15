import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { fixedTime, parseCriLine, timeOf } from '../../../src/api/logs/cri-line.ts';
import { type LogOptions, parseLogOptions } from '../../../src/api/logs/log-options.ts';
import { readLog } from '../../../src/api/logs/log-reader.ts';
import { loggedContainerId } from '../../../src/api/logs/logged-container.ts';
import { FakeLogFiles } from '../../../src/host/log-file/fake.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';
import type { ContainerStatus, Pod } from '../../../src/model/pod.ts';

const PATH = '/logs/c/0.log';
const ALL: LogOptions = {
  follow: false,
  previous: false,
  timestamps: false,
  tailLines: undefined,
  limitBytes: undefined,
  sinceMs: undefined,
  stream: undefined,
};
const at = (second: number): string => `2026-01-01T00:00:${String(second).padStart(2, '0')}`;
const full = (second: number, text: string, stream = 'stdout'): string => `${at(second)}.5Z ${stream} F ${text}\n`;
const part = (second: number, text: string): string => `${at(second)}.5Z stdout P ${text}\n`;

let files: FakeLogFiles;
let clock: ManualClock;
let running: boolean;
let tell: Set<() => void>;
let changed: Set<(name: string | undefined) => void>;

beforeEach(() => {
  files = new FakeLogFiles();
  clock = new ManualClock();
  running = false;
  tell = new Set();
  changed = new Set();
});

function start(options: Partial<LogOptions>, sink: (chunk: Buffer) => Promise<void>, signal: AbortSignal) {
  return readLog(
    {
      path: PATH,
      isRunning: () => running,
      subscribe: (listener) => {
        tell.add(listener);
        return () => tell.delete(listener);
      },
    },
    { ...ALL, ...options },
    sink,
    {
      files,
      clock,
      watch: (_directory, onChange) => {
        changed.add(onChange);
        return { close: () => changed.delete(onChange) };
      },
    },
    signal,
  );
}

async function read(options: Partial<LogOptions> = {}): Promise<string> {
  let text = '';
  await start(
    options,
    async (chunk) => {
      text += chunk;
    },
    new AbortController().signal,
  );
  expect(files.openFiles).toBe(0);
  return text;
}

/** A follower, and what it was given so far. */
function follow(options: Partial<LogOptions> = {}) {
  running = true;
  const stop = new AbortController();
  const seen = { text: '', ended: undefined as undefined | 'well' | Error };
  const done = start(
    { follow: true, ...options },
    async (chunk) => {
      seen.text += chunk;
    },
    stop.signal,
  ).then(
    () => {
      seen.ended = 'well';
    },
    (error) => {
      seen.ended = error;
    },
  );
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 30; i++) await Promise.resolve();
    await new Promise((resolve) => setImmediate(resolve));
  };
  const write = async (path: string, text: string): Promise<void> => {
    files.append(path, text);
    for (const listener of changed) listener(path.split('/').at(-1));
    await settle();
  };
  const exit = async (): Promise<void> => {
    running = false;
    for (const listener of tell) listener();
    await settle();
    await clock.advance(100);
    await settle();
  };
  return { seen, done, stop, settle, write, exit };
}

describe('a line of a log', () => {
  it('is read as the runtime writes it', () => {
    expect(parseCriLine(Buffer.from(full(1, 'a b')))).toMatchObject({ stream: 'stdout', text: Buffer.from('a b\n') });
    expect(parseCriLine(Buffer.from(part(1, 'a b')))).toMatchObject({ text: Buffer.from('a b') });
    expect(parseCriLine(Buffer.from(`${at(1)}Z stderr F:new-tag \n`))).toMatchObject({ text: Buffer.from('\n') });
    for (const bad of ['', 'x', `${at(1)}Z stdout`, `${at(1)}Z stdin F x\n`, 'yesterday stdout F x\n']) {
      expect(parseCriLine(Buffer.from(bad)), bad).toBeUndefined();
    }
    expect(fixedTime('2026-01-01T00:00:00.5Z')).toBe('2026-01-01T00:00:00.500000000Z');
    expect(fixedTime('2026-01-01T00:00:00+02:00')).toBe('2026-01-01T00:00:00.000000000+02:00');
    expect(timeOf('2026-01-01T00:00:00.0015Z') - timeOf('2026-01-01T00:00:00Z')).toBeCloseTo(1.5, 3);
  });
});

describe('a log', () => {
  it('is given without what the runtime added, pieces joined', async () => {
    files.append(
      PATH,
      `${full(1, 'one')}${part(2, 'tw')}${part(3, 'o')}${full(4, '!')}nonsense\n${full(5, 'end', 'stderr')}`,
    );
    expect(await read()).toBe('one\ntwo!\nend\n');
    expect(await read({ timestamps: true })).toBe(
      `${at(1)}.500000000Z one\n${at(2)}.500000000Z two!\n${at(5)}.500000000Z end\n`,
    );
    expect(await read({ sinceMs: timeOf(`${at(4)}Z`) })).toBe('!\nend\n');
    expect(await read({ limitBytes: 6 })).toBe('one\ntw');
    expect(await read({ stream: 'stderr' })).toBe('end\n');
  });

  it('is given from its end', async () => {
    for (let i = 0; i < 30; i++) files.append(PATH, full(1, 'x'.repeat(16_000)));
    files.append(PATH, full(2, 'a') + full(3, 'b') + full(4, 'c'));
    expect(await read({ tailLines: 2 })).toBe('b\nc\n');
    expect(await read({ tailLines: 0 })).toBe('');
    expect((await read({ tailLines: 8 })).length).toBe(5 * 16_001 + 6);
    expect((await read({ tailLines: 1000 })).length).toBe(30 * 16_001 + 6);
    expect(await read({ tailLines: 3, limitBytes: 3 })).toBe('a\nb');
  });

  it('gives the last lines whatever the lines are', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(90_000), { maxLength: 8 }), fc.nat(9), async (lengths, tailLines) => {
        files = new FakeLogFiles();
        const lines = lengths.map((length, index) => `${index}${'x'.repeat(length)}`);
        files.append(PATH, lines.map((line) => full(1, line)).join(''));
        const wanted = tailLines === 0 ? [] : lines.slice(-tailLines);
        expect(await read({ tailLines })).toBe(wanted.map((line) => `${line}\n`).join(''));
      }),
      { numRuns: 50 },
    );
  });

  it('that has no file is NotFound', async () => {
    await expect(read()).rejects.toMatchObject({ code: 'NotFound' });
  });
});

describe('a follower', () => {
  it('gets what is written until the container has ended', async () => {
    files.append(PATH, full(1, 'old'));
    const { seen, write, exit, settle, done } = follow({ tailLines: 0 });
    await settle();
    await write(PATH, full(2, 'new') + part(3, 'ha'));
    expect(seen.text).toBe('new\nha');
    await write(PATH, full(4, 'lf').slice(0, 20));
    expect(seen.text).toBe('new\nha');
    await write(PATH, full(4, 'lf').slice(20));
    expect(seen.text).toBe('new\nhalf\n');
    expect(seen.ended).toBeUndefined();
    files.append(PATH, full(5, 'last'));
    await exit();
    await done;
    expect(seen).toEqual({ text: 'new\nhalf\nlast\n', ended: 'well' });
    expect([files.openFiles, changed.size, tell.size]).toEqual([0, 0, 0]);
  });

  it('loses and doubles nothing over a rotation, also what comes late into the old file', async () => {
    files.append(PATH, full(1, '1'));
    const { seen, write, exit, settle, done } = follow();
    await settle();
    files.rename(PATH, `${PATH}.20260101-000000`);
    await write(`${PATH}.20260101-000000`, full(2, '2'));
    await write(PATH, full(4, '4'));
    await write(`${PATH}.20260101-000000`, full(3, '3'));
    for (let i = 0; i < 3; i++) {
      await clock.advance(500);
      await settle();
    }
    expect(seen.text).toBe('1\n2\n3\n4\n');
    await write(PATH, full(5, '5'));
    const ended = exit();
    files.append(PATH, full(6, '6'));
    await ended;
    await clock.advance(1000);
    await done;
    expect(seen.text).toBe('1\n2\n3\n4\n5\n6\n');
    expect(files.openFiles).toBe(0);
  });

  it('stays with the old file for as long as the runtime does, and with it to the end', async () => {
    files.append(PATH, full(1, '1'));
    const { seen, write, exit, settle, done } = follow();
    await settle();
    files.rename(PATH, `${PATH}.old`);
    await write(PATH, '');
    for (let i = 2; i < 6; i++) {
      await clock.advance(1000);
      await write(`${PATH}.old`, full(i, String(i)));
      await clock.advance(1000);
      await settle();
    }
    expect(seen.text).toBe('1\n2\n3\n4\n5\n');
    await exit();
    await clock.advance(1000);
    await done;
    expect([seen.ended, files.openFiles]).toEqual(['well', 0]);
  });

  it('begins anew where a file was copied away and emptied', async () => {
    files.append(PATH, full(1, 'one') + full(2, 'two'));
    const { seen, write, settle, stop, done } = follow();
    await settle();
    files.truncate(PATH);
    await write(PATH, full(3, '3'));
    await clock.advance(1000);
    await settle();
    expect(seen.text).toBe('one\ntwo\n3\n');
    stop.abort(new Error('enough'));
    await done;
    expect(seen.ended).toMatchObject({ message: 'enough' });
    expect([files.openFiles, changed.size, tell.size]).toEqual([0, 0, 0]);
  });

  it('looks by itself where nobody tells', async () => {
    files.append(PATH, full(1, 'one'));
    const { seen, settle, stop, done } = follow();
    await settle();
    files.append(PATH, full(2, 'two'));
    await settle();
    expect(seen.text).toBe('one\n');
    await clock.advance(1000);
    await settle();
    expect(seen.text).toBe('one\ntwo\n');
    stop.abort();
    await done;
  });
});

describe('what of a log is asked for', () => {
  const parse = (query: string, split = false) => parseLogOptions(new URLSearchParams(query), 100_000, split);

  it('is read as kubelet reads it', () => {
    expect(parse('follow=true&previous=1&timestamps&tailLines=5&limitBytes=9&sinceSeconds=10')).toEqual({
      options: { ...ALL, follow: true, previous: true, timestamps: true, tailLines: 5, limitBytes: 9, sinceMs: 90_000 },
    });
    expect(parse('follow=False&previous=0&tail=all&tailLines=5')).toEqual({ options: ALL });
    expect(parse('tail=7')).toMatchObject({ options: { tailLines: 7 } });
    expect(parse('sinceTime=1970-01-01T00:01:00Z')).toMatchObject({ options: { sinceMs: 60_000 } });
    expect(parse('stream=Stderr', true)).toMatchObject({ options: { stream: 'stderr' } });
    for (const bad of ['tailLines=x', 'limitBytes=', 'sinceSeconds=1.5', 'sinceTime=noon']) {
      expect(parse(bad), bad).toMatchObject({ error: { status: 400 } });
    }
    for (const bad of [
      'tailLines=-1',
      'limitBytes=0',
      'sinceSeconds=0',
      'sinceSeconds=1&sinceTime=1970-01-01T00:01:00Z',
    ]) {
      expect(parse(bad), bad).toMatchObject({ error: { status: 422 } });
    }
    expect(parse('stream=Stdout')).toMatchObject({ error: { status: 400, message: expect.stringContaining('gate') } });
    expect(parse('stream=Stdout&tailLines=1', true)).toMatchObject({ error: { status: 422 } });
  });
});

describe('the container whose log is meant', () => {
  const pod = (status: Partial<ContainerStatus> | undefined): Pod =>
    ({
      metadata: { name: 'p' },
      spec: { containers: [{ name: 'c' }] },
      status: status === undefined ? {} : { containerStatuses: [{ name: 'c', ...status }] },
    }) as unknown as Pod;
  const ended = (containerID?: string) => ({ terminated: { exitCode: 1, ...(containerID && { containerID }) } });
  const NOT_THERE = 'container "c" in pod "p"';

  it.each([
    [{ state: { running: {} }, containerID: 'containerd://a', lastState: ended('containerd://b') }, false, 'a'],
    [{ state: { running: {} }, containerID: 'containerd://a', lastState: ended('containerd://b') }, true, 'b'],
    [{ state: ended('containerd://a'), lastState: ended('containerd://b') }, false, 'a'],
    [{ state: ended(), lastState: ended('containerd://b') }, false, 'b'],
    [{ state: { waiting: { reason: 'CrashLoopBackOff' } }, lastState: ended('containerd://b') }, false, 'b'],
    [undefined, false, `${NOT_THERE} is not available`],
    [{ state: { running: {} }, containerID: 'containerd://a' }, true, `previous terminated ${NOT_THERE} not found`],
    [{ state: ended() }, false, `${NOT_THERE} is terminated`],
    [{ state: {} }, false, `${NOT_THERE} is waiting to start - no logs yet`],
    [
      { state: { waiting: { reason: 'ErrImagePull' } } },
      false,
      `${NOT_THERE} is waiting to start: image can't be pulled`,
    ],
    [
      { state: { waiting: { reason: 'ImagePullBackOff' } } },
      false,
      `${NOT_THERE} is waiting to start: trying and failing to pull image`,
    ],
    [{ state: { waiting: { reason: 'PodInitializing' } } }, false, `${NOT_THERE} is waiting to start: PodInitializing`],
  ] as const)('%o, previous %s: %s', (status, previous, wanted) => {
    const find = (): string => loggedContainerId(pod(status as Partial<ContainerStatus> | undefined), 'c', previous);
    if (wanted.includes(' ')) expect(find).toThrow(wanted);
    else expect(find()).toBe(wanted);
  });
});

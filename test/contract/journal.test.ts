import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FakeJournal } from '../../src/host/journal/fake.ts';
import type { JournalPort, JournalQuery } from '../../src/host/journal/port.ts';
import { RealJournal } from '../../src/host/journal/real.ts';
import { noJournal, TestJournal } from '../harness/test-journal.ts';

const never = new AbortController().signal;

interface Subject {
  readonly port: JournalPort;
  write(service: string, lines: readonly string[]): Promise<void>;
  stop(): Promise<void>;
}

const subjects: readonly (readonly [string, string | undefined, () => Promise<Subject>])[] = [
  [
    'fake',
    undefined,
    () => {
      const port = new FakeJournal();
      const write = (service: string, lines: readonly string[]): Promise<void> => {
        for (const line of lines) port.write(service, line, Date.now());
        return Promise.resolve();
      };
      return Promise.resolve({ port, write, stop: () => Promise.resolve() });
    },
  ],
  [
    'real',
    noJournal,
    async () => {
      const journal = await TestJournal.start();
      return {
        port: new RealJournal({ command: journal.command }),
        write: (service, lines) => journal.write(service, lines),
        stop: () => journal.stop(),
      };
    },
  ],
];

describe.each(subjects)('journal: %s', (_name, missing, start) => {
  describe.skipIf(missing !== undefined)(missing === undefined ? 'is there' : `skipped: ${missing}`, () => {
    let subject: Subject;
    let between: number;

    beforeAll(async () => {
      subject = await start();
      await subject.write('dh-one', ['first of one', 'second of one', 'THIRD of one']);
      await subject.write('dh-two', ['only of two']);
      // Between two moments that both are told apart by.
      between = Date.now() + 2;
      while (Date.now() < between + 2) await new Promise((resolve) => setImmediate(resolve));
      await subject.write('dh-one', ['late of one']);
    });
    afterAll(() => subject?.stop());

    const textOf = async (query: JournalQuery): Promise<string> => {
      const chunks: Buffer[] = [];
      const take = (chunk: Buffer): Promise<void> => {
        chunks.push(chunk);
        return Promise.resolve();
      };
      await subject.port.read(query, take, never);
      return Buffer.concat(chunks).toString();
    };
    const texts = async (query: JournalQuery): Promise<string[]> => {
      const text = await textOf(query);
      return text.split('\n').flatMap((line) => /dh-(?:one|two)\[\d+\]: (.*)$/.exec(line)?.[1] ?? []);
    };
    const ONE = ['first of one', 'second of one', 'THIRD of one', 'late of one'];

    it('knows who has written, with or without their suffix', async () => {
      const asked = ['dh-one', 'dh-two.service', 'dh-three', 'one'];
      expect(await subject.port.known(asked, never)).toEqual(new Set(['dh-one', 'dh-two.service']));
    });

    it('gives what services wrote, in order', async () => {
      expect(await texts({ services: ['dh-one'] })).toEqual(ONE);
      expect(await texts({ services: ['dh-two.service'] })).toEqual(['only of two']);
      expect(await texts({ services: ['dh-one', 'dh-two'] })).toEqual([
        ...ONE.slice(0, 3),
        'only of two',
        'late of one',
      ]);
    });

    it('keeps to times, numbers of lines and patterns', async () => {
      const services = ['dh-one'];
      expect(await texts({ services, sinceMs: between })).toEqual(['late of one']);
      expect(await texts({ services, untilMs: between })).toEqual(ONE.slice(0, 3));
      expect(await texts({ services, lines: 2 })).toEqual(ONE.slice(2));
      expect(await texts({ services, pattern: 'third' })).toEqual(['THIRD of one']);
      expect(await texts({ services, pattern: '^(first|late)' })).toEqual(['first of one', 'late of one']);
    });

    it('says when there is nothing', async () => {
      expect(await textOf({ services: ['dh-three'] })).toBe('-- No entries --\n');
      const other = await textOf({ services: ['dh-one'], boot: -5 });
      expect(other).toMatch(/boot/);
      expect(other).not.toContain('of one');
    });

    it('ends when nobody listens any more', async () => {
      const over = new AbortController();
      let chunks = 0;
      const gone = (): Promise<void> => {
        chunks++;
        over.abort(new Error('gone'));
        return Promise.reject(new Error('gone'));
      };
      await expect(subject.port.read({ services: ['dh-one'] }, gone, over.signal)).rejects.toThrow('gone');
      expect(chunks).toBe(1);
      await expect(subject.port.read({ services: ['dh-one'] }, async () => {}, over.signal)).rejects.toThrow('gone');
    });
  });
});

describe('a machine without a journal', () => {
  it('has nobody who wrote to it, and says so when it is read', async () => {
    const port = new RealJournal({ command: ['/none/journalctl'] });
    expect(await port.known(['kubelet'], never)).toEqual(new Set());
    await expect(port.read({ services: ['kubelet'] }, async () => {}, never)).rejects.toMatchObject({
      code: 'Unavailable',
    });
  });
});

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { afterAll, describe, expect, test } from 'vitest';
import { createLogger } from '../../../src/kit/pino-logger.ts';

function capture(verbosity: number, format: 'json' | 'text' = 'json') {
  const lines: string[] = [];
  const { logger } = createLogger({ verbosity, format, destination: { write: (line: string) => lines.push(line) } });
  const objects = (): Record<string, unknown>[] => lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  return { logger, lines, objects };
}

describe('createLogger', () => {
  test('writes more or less when it is told to, by children that were there before as well', () => {
    const lines: string[] = [];
    const destination = { write: (line: string) => lines.push(JSON.parse(line).msg) };
    const { logger, setVerbosity } = createLogger({ verbosity: 2, format: 'json', destination });
    const child = logger.child({ part: 'a' });
    child.debug({}, 'no');
    setVerbosity(4);
    child.debug({}, 'debug');
    child.child({}).trace({}, 'no');
    setVerbosity(0);
    child.info({}, 'no');
    child.warn({}, 'warn');
    logger.error({}, 'error');
    setVerbosity(9);
    child.trace({}, 'trace');
    expect(lines).toEqual(['debug', 'warn', 'error', 'trace']);
  });

  test.each([
    [0, ['error', 'warn']],
    [2, ['error', 'warn', 'info']],
    [4, ['error', 'warn', 'info', 'debug']],
    [6, ['error', 'warn', 'info', 'debug', 'trace']],
  ])('verbosity %i lets %j through', (verbosity, expected) => {
    const { logger, objects } = capture(verbosity);
    for (const level of ['error', 'warn', 'info', 'debug', 'trace'] as const) logger[level]({ a: 1 }, 'm');
    expect(objects().map((line) => line['level'])).toEqual(expected);
    expect(objects()[0]).toMatchObject({ a: 1, msg: 'm', time: expect.stringMatching(/^\d{4}-.*Z$/) });
  });

  test('children carry their facts', () => {
    const { logger, objects } = capture(2);
    logger.child({ pod: 'n/p' }).child({ part: 'x' }).info({ b: 2 }, 'm');
    expect(objects()[0]).toMatchObject({ pod: 'n/p', part: 'x', b: 2 });
  });

  test('secrets do not get through, at any depth, in lists, in children', () => {
    const { logger, lines } = capture(2);
    const secret = 'hunter2';
    logger.info(
      {
        token: secret,
        headers: { Authorization: secret },
        users: [{ user: { 'client-key-data': secret, clientKeyData: secret, password: secret } }],
        secret: { data: { key: secret }, stringData: { key: secret } },
        fine: 'visible',
      },
      'm',
    );
    logger.child({ auth: { token: secret } }).info({}, 'm');
    expect(lines.join('')).not.toContain(secret);
    expect(lines[0]).toContain('visible');
  });

  test('what is logged is not changed', () => {
    const { logger } = capture(2);
    const fields = { inner: { token: 'x', other: 1 } };
    logger.info(fields, 'm');
    expect(fields).toEqual({ inner: { token: 'x', other: 1 } });
  });

  test('errors and big integers are readable, endless depth ends', () => {
    const { logger, objects } = capture(2);
    const loop: Record<string, unknown> = {};
    loop['loop'] = loop;
    logger.info({ error: new TypeError('broken'), big: 12n, loop }, 'm');
    expect(objects()[0]).toMatchObject({ error: { message: 'broken' }, big: '12' });
  });

  test('text is for people', () => {
    const { logger, lines } = capture(2, 'text');
    logger.warn({ pod: 'n/p', error: 'two words', n: 3 }, 'could not');
    expect(lines[0]).toMatch(/^\d{4}-\S+Z WARN {2}could not pod=n\/p error="two words" n=3\n$/);
  });

  test('for the journal each line begins with its priority, as JSON and as text', () => {
    for (const format of ['json', 'text'] as const) {
      const lines: string[] = [];
      const destination = { write: (line: string) => lines.push(line) };
      const { logger } = createLogger({ verbosity: 6, format, destination, journal: true });
      for (const level of ['error', 'warn', 'info', 'debug', 'trace'] as const) {
        logger.child({ part: 'x' })[level]({ text: 'two\nlines' }, 'm');
      }
      expect(lines.map((line) => line.slice(0, 3))).toEqual(['<3>', '<4>', '<6>', '<7>', '<7>']);
      // journald takes each line of a stream for an entry.
      for (const line of lines) expect(line.indexOf('\n')).toBe(line.length - 1);
      if (format === 'json') expect(JSON.parse((lines[1] ?? '').slice(3))).toMatchObject({ level: 'warn', part: 'x' });
    }
  });

  describe('in a process of its own', () => {
    const dir = mkdtempSync(join(tmpdir(), 'dhclu-log-'));
    afterAll(() => rmSync(dir, { recursive: true, force: true }));
    const run = (name: string, ending: string) => {
      const outfile = join(dir, `${name}.cjs`);
      buildSync({
        stdin: {
          contents: `import { createLogger } from './src/kit/pino-logger.ts';
            const { logger } = createLogger({ verbosity: 2, format: 'json' });
            for (let i = 0; i < 500; i++) logger.info({ i }, 'line');
            ${ending}`,
          resolveDir: process.cwd(),
          loader: 'ts',
        },
        bundle: true,
        platform: 'node',
        outfile,
      });
      return spawnSync(process.execPath, [outfile], { encoding: 'utf8' });
    };

    test.each([
      ['that leads to the journal', '$(stat -L -c %d:%i /proc/self/fd/2)', true],
      ['that was redirected', '1:2', false],
      ['of no service', '', false],
    ])('standard error %s', (_what, stream, prefixed) => {
      run('journal', '');
      const script = `exec 2>log-of-journal; JOURNAL_STREAM="${stream}" exec "$0" journal.cjs`;
      expect(spawnSync('sh', ['-c', script, process.execPath], { cwd: dir }).status).toBe(0);
      const lines = readFileSync(join(dir, 'log-of-journal'), 'utf8').trim().split('\n');
      expect(lines).toHaveLength(500);
      for (const line of lines) expect(line.startsWith(prefixed ? '<6>{' : '{')).toBe(true);
    });

    test.each([
      ['a crash', "setTimeout(() => { throw new Error('boom'); }, 5);", 1],
      ['process.exit', 'process.exit(3);', 3],
      ['its natural end', '', 0],
    ])('no line is lost by %s', (name, ending, code) => {
      const { stderr, status } = run(name.replace(/\W/g, ''), ending);
      expect(status).toBe(code);
      const lines = stderr.split('\n').filter((line) => line.startsWith('{'));
      expect(lines).toHaveLength(500);
      expect(JSON.parse(lines.at(-1) ?? '{}')).toMatchObject({ i: 499 });
    });
  });
});

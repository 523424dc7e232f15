import { describe, expect, it } from 'vitest';
import { FakeFiles } from '../../../../src/host/files/fake.ts';
import { lastLogLines } from '../../../../src/pods/observe/last-log-lines.ts';

const TIME = '2026-01-01T00:00:00.000000000Z';

async function lastOf(log: string): Promise<string> {
  const files = new FakeFiles();
  await files.makeDirectory('/log', 0o755);
  await files.write('/log/0.log', log, 0o644);
  return lastLogLines(files, '/log/0.log');
}

const line = (text: string, stream = 'stdout', tag = 'F'): string => `${TIME} ${stream} ${tag} ${text}\n`;

describe('lastLogLines', () => {
  it('is the text of both streams in their order', async () => {
    expect(await lastOf(line('one') + line('two', 'stderr') + line('') + line('  three '))).toBe(
      'one\ntwo\n\n  three \n',
    );
  });

  it('joins the pieces of a long line', async () => {
    expect(await lastOf(line('be', 'stdout', 'P') + line('gin', 'stdout', 'P') + line('ning'))).toBe('beginning\n');
  });

  it('is empty without a log, and of an empty one', async () => {
    expect(await lastLogLines(new FakeFiles(), '/no/such.log')).toBe('');
    expect(await lastOf('')).toBe('');
  });

  it('leaves out lines that are none of the CRI', async () => {
    expect(await lastOf(`rubbish\n${line('good')}${TIME} nowhere F bad\n`)).toBe('good\n');
  });

  it('keeps a last line that was not ended', async () => {
    expect(await lastOf(`${line('one')}${TIME} stdout F tw`)).toBe('one\ntw\n');
  });

  it('is 80 lines at most', async () => {
    const lines = Array.from({ length: 200 }, (_, i) => `${i}`);
    const text = await lastOf(lines.map((one) => line(one)).join(''));
    expect(text).toBe(`${lines.slice(-80).join('\n')}\n`);
  });

  it('is 2048 bytes at most, its end rather than its start', async () => {
    const text = await lastOf(line('x'.repeat(3000)) + line('the end'));
    expect(Buffer.byteLength(text)).toBe(2048);
    expect(text.endsWith('x\nthe end\n')).toBe(true);
  });

  it('does not cut a character in two', async () => {
    for (let shift = 0; shift < 4; shift++) {
      const text = await lastOf(line('€'.repeat(1000)) + line('x'.repeat(shift)));
      expect(text).not.toContain('�');
      expect(Buffer.byteLength(text)).toBeGreaterThan(2048 - 4);
    }
  });

  it('a line that began before what is read is left out', async () => {
    const text = await lastOf(line('y'.repeat(100_000)) + line('last'));
    expect(text).toBe('last\n');
  });
});

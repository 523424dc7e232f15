import { describe, expect, it } from 'vitest';
import { planRotation, rotatedName } from '../../../../src/pods/logs/rotation.ts';

describe('planRotation', () => {
  it.each<[string, readonly string[], number, readonly string[], readonly string[]]>([
    ['nothing was rotated yet', ['0.log'], 5, [], []],
    ['the newest rotated one is still plain', ['0.log', '0.log.20260101-000000'], 5, [], ['0.log.20260101-000000']],
    [
      'more than there may be, the oldest go',
      [
        '0.log',
        '0.log.20260104-000000',
        '0.log.20260103-000000.gz',
        '0.log.20260102-000000.gz',
        '0.log.20260101-000000.gz',
      ],
      5,
      ['0.log.20260101-000000.gz'],
      ['0.log.20260104-000000'],
    ],
    [
      'two files only: the live one and what it is about to become',
      ['0.log', '0.log.20260104-000000', '0.log.20260103-000000.gz'],
      2,
      ['0.log.20260103-000000.gz', '0.log.20260104-000000'],
      [],
    ],
    [
      'a rotation that was cut off: temporary files go, and what is compressed already',
      ['0.log', '0.log.20260102-000000.tmp', '0.log.20260101-000000', '0.log.20260101-000000.gz'],
      5,
      ['0.log.20260102-000000.tmp', '0.log.20260101-000000'],
      [],
    ],
    [
      'files of other attempts and of others',
      ['10.log', '1.log', '1.log.20260101-000000', 'note', '0.logs'],
      2,
      [],
      [],
    ],
  ])('%s', (_what, names, maxFiles, remove, compress) => {
    expect(planRotation('0.log', names, maxFiles)).toEqual({ remove, compress });
  });

  it('never leaves more than the files that are allowed, whatever was there', () => {
    for (let count = 0; count < 12; count++) {
      for (let maxFiles = 2; maxFiles < 8; maxFiles++) {
        const names = Array.from(
          { length: count },
          (_, index) => `0.log.202601${10 + index}-000000${index % 2 ? '.gz' : ''}`,
        );
        const { remove } = planRotation('0.log', names, maxFiles);
        // With the live log's new rotated file and the new live one.
        expect(count - remove.length + 2).toBeLessThanOrEqual(maxFiles);
        expect([...remove].sort()).toEqual(names.slice(0, remove.length));
      }
    }
  });
});

it('names a rotated log by the local time', () => {
  expect(rotatedName('/l/0.log', new Date(2026, 0, 2, 3, 4, 5).getTime())).toBe('/l/0.log.20260102-030405');
});
